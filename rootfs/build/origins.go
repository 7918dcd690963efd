package build

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/bivouac-run/bivouac/rootfs"
)

// origin is where files come from: exactly one field is set, or none for scratch.
type origin struct {
	stage *stage
	image *baseImage
	files *folder
}

// baseOf is what FROM means: a context, an earlier stage, scratch, an image.
func (b *builder) baseOf(s *stage) (origin, error) {
	o, err := b.baseOrigin(s)
	if o.image != nil && o.image.stage == nil {
		o.image.stage = s
	}
	return o, err
}

func (b *builder) baseOrigin(s *stage) (origin, error) {
	if value, ok := b.spec.Contexts[s.BaseName]; ok {
		o, err := b.contextOrigin(s, s.BaseName, value, s.Location)
		if err == nil && o.files != nil {
			err = fmt.Errorf("context %q is a directory: FROM needs an image, as docker-image://REFERENCE", s.BaseName)
		}
		return o, err
	}
	if earlier := b.earlier(s, s.BaseName); earlier != nil {
		return origin{stage: earlier}, nil
	}
	if s.BaseName == "scratch" {
		return origin{}, nil
	}
	return b.imageOrigin(s.BaseName, s.platform, s.Location)
}

// earlier is the last stage of the name before s.
func (b *builder) earlier(s *stage, name string) *stage {
	for _, other := range slices.Backward(b.stages[:s.index]) {
		if other.Name != "" && strings.EqualFold(other.Name, name) {
			return other
		}
	}
	return nil
}

// sourceOf is what --from means; an empty name is the context.
func (b *builder) sourceOf(s *stage, name string, at []parser.Range) (origin, error) {
	if name == "" {
		return origin{files: b.context}, nil
	}
	if strings.ContainsRune(name, '$') {
		return origin{}, errors.New("variable expansion is not supported for --from: " +
			"give the image a stage of its own, FROM with an ARG from before the first FROM")
	}
	if value, ok := b.spec.Contexts[name]; ok {
		return b.contextOrigin(s, name, value, at)
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n >= s.index {
			return origin{}, fmt.Errorf("invalid stage index %d: this is stage %d, and only those before it can be named", n, s.index)
		}
		return origin{stage: b.stages[n]}, nil
	}
	if earlier := b.earlier(s, name); earlier != nil {
		return origin{stage: earlier}, nil
	}
	if slices.ContainsFunc(b.stages[s.index:], func(later *stage) bool { return strings.EqualFold(later.Name, name) }) {
		return origin{}, fmt.Errorf("cannot copy from stage %q: it needs to be defined before this one", name)
	}
	if name == "scratch" {
		return origin{}, nil
	}
	return b.imageOrigin(name, s.platform, at)
}

// contextOrigin is one of the named contexts.
func (b *builder) contextOrigin(s *stage, name, value string, at []parser.Range) (origin, error) {
	if ref, ok := strings.CutPrefix(value, "docker-image://"); ok {
		return b.imageOrigin(ref, s.platform, at)
	}
	if strings.HasPrefix(value, "/") {
		files, err := b.namedContext(name, value)
		return origin{files: files}, err
	}
	if earlier := b.earlier(s, value); earlier != nil {
		return origin{stage: earlier}, nil
	}
	return origin{}, fmt.Errorf("context %q: %q is no absolute path, no docker-image://REFERENCE and no earlier stage", name, value)
}

// imageOrigin is an image, which is pulled with others later.
func (b *builder) imageOrigin(ref, platform string, at []parser.Range) (origin, error) {
	if _, err := rootfs.ParseReference(ref); err != nil {
		return origin{}, err
	}
	for _, known := range b.images {
		if known.ref == ref && known.platform == platform {
			return origin{image: known}, nil
		}
	}
	image := &baseImage{ref: ref, platform: platform, at: at}
	b.images = append(b.images, image)
	b.toPull = append(b.toPull, image)
	return origin{image: image}, nil
}
