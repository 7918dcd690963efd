package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// find lists what the archive has.
func (l *loading) find(ctx context.Context) error {
	docker, err := l.dockerImages()
	if err != nil {
		return err
	}
	index, err := readPart(l.files, ocispec.ImageIndexFile, maxManifest)
	switch {
	case err == nil:
		err = l.findLayout(ctx, index, docker)
	case !errors.Is(err, fs.ErrNotExist):
		return unreadable(l.ref, err)
	case docker != nil:
		err = l.findDocker(ctx, docker)
	default:
		err = fail(BadArchive, "give what `docker save` writes, or an OCI layout", "it has neither manifest.json nor index.json")
	}
	if err != nil || len(l.found) > 0 {
		return err
	}
	if l.o.Platform != "" {
		return fail(NoPlatform, "leave --platform out to load what there is", "there is no image for %s in it", l.o.Platform)
	}
	return fail(NotFound, "", "there is no image in it")
}

// dockerImages reads manifest.json; nil without one.
func (l *loading) dockerImages() ([]dockerImage, error) {
	images := []dockerImage{}
	err := readJSON(l.files, "manifest.json", maxManifest, &images)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(l.ref, err)
	}
	return images, nil
}

func (l *loading) findLayout(ctx context.Context, content []byte, docker []dockerImage) error {
	index, err := parseIndex(content)
	if err != nil {
		return err
	}
	src := &layoutSource{ref: l.ref, files: l.files}
	for _, d := range index.Manifests {
		if !isImage(d) {
			continue
		}
		first := len(l.found)
		if err := l.addLayout(ctx, src, d, "", 0); err != nil {
			return err
		}
		l.callThem(l.found[first:], d, docker)
	}
	return nil
}

// addLayout adds the images of a manifest, or those below an index that are in the archive.
func (l *loading) addLayout(ctx context.Context, src *layoutSource, d ocispec.Descriptor, over digest.Digest, depth int) error {
	content, err := readPart(l.files, blobName(d.Digest), maxManifest)
	if errors.Is(err, fs.ErrNotExist) && depth > 0 {
		return nil
	}
	if err == nil {
		err = verify(content, d)
	}
	if err != nil {
		return src.incomplete(d, err)
	}
	if d.MediaType, err = sniff(content, d.MediaType); err != nil {
		return err
	}
	if isManifest(d.MediaType) {
		return l.addManifest(src, d, content, over)
	}
	if !isIndex(d.MediaType) {
		return unknownKind(d.MediaType)
	}
	return l.addIndex(ctx, src, d, content, over, depth)
}

func (l *loading) addIndex(ctx context.Context, src *layoutSource, d ocispec.Descriptor, content []byte, over digest.Digest, depth int) error {
	if depth == maxNesting {
		return fail(BadImage, "", "read image index: more than %d indexes in each other", maxNesting)
	}
	index, err := parseIndex(content)
	if err != nil {
		return err
	}
	if err := l.store.storeBlob(ctx, ocispec.Descriptor{Digest: d.Digest, Size: int64(len(content))}, content); err != nil {
		return err
	}
	if over == "" {
		over = d.Digest
	}
	before := len(l.found)
	for _, child := range index.Manifests {
		if !isImage(child) {
			continue
		}
		if err := l.addLayout(ctx, src, child, over, depth+1); err != nil {
			return err
		}
	}
	if depth == 0 && len(l.found) == before && l.o.Platform == "" {
		return fail(BadArchive, "copy the whole image into it", "none of the images of index %s is in it", d.Digest)
	}
	return nil
}

func (l *loading) addManifest(src *layoutSource, d ocispec.Descriptor, content []byte, over digest.Digest) error {
	manifest, err := parseManifest(content)
	if err != nil {
		return err
	}
	text, err := readPart(l.files, blobName(manifest.Config.Digest), maxConfig)
	if err == nil {
		err = verify(text, manifest.Config)
	}
	if err != nil {
		return src.incomplete(manifest.Config, err)
	}
	return l.add(loaded{source: src, root: d, over: over, digest: manifest.Config.Digest}, text, len(manifest.Layers))
}

// add adds an image unless another platform is asked for.
func (l *loading) add(image loaded, config []byte, layers int) error {
	read, err := parseConfig(config, layers)
	if err != nil {
		return err
	}
	if read.Architecture != "" {
		image.want = platforms.FormatAll(platforms.Normalize(read.Platform))
	}
	if want, err := parsePlatform(l.o.Platform); err != nil || l.o.Platform != "" && checkPlatform(read.Platform, want) != nil {
		return err
	}
	l.found = append(l.found, image)
	return nil
}

// callThem gives the images of one entry their names: its own, or else those that manifest.json has for the configuration.
func (l *loading) callThem(images []loaded, d ocispec.Descriptor, docker []dockerImage) {
	for i := range images {
		if full, err := fullName(nameIn(d)); err == nil && full != "" {
			images[i].names = []string{full}
			continue
		}
		for _, image := range docker {
			if strings.TrimSuffix(inside(image.Config), ".json") == blobName(images[i].digest) {
				images[i].names = append(images[i].names, validNames(image.RepoTags)...)
			}
		}
	}
}

// nameIn is the name of an entry. What has neither colon nor slash is the tag of a layout, not the name of an image.
func nameIn(d ocispec.Descriptor) string {
	if name := d.Annotations[annotationName]; name != "" {
		return name
	}
	if name := d.Annotations[annotationRef]; strings.ContainsAny(name, ":/") {
		return name
	}
	return ""
}

func validNames(tags []string) (names []string) {
	for _, tag := range tags {
		if full, err := fullName(tag); err == nil && full != "" && !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	return names
}

func (l *loading) findDocker(ctx context.Context, docker []dockerImage) error {
	for _, image := range docker {
		src := &dockerSource{ref: l.ref, files: l.files}
		if err := src.make(ctx, image); err != nil {
			return err
		}
		config, err := readPart(l.files, image.Config, maxConfig)
		if err != nil {
			return unreadable(l.ref, err)
		}
		found := loaded{source: src, root: src.described, names: validNames(image.RepoTags)}
		if err := l.add(found, config, len(image.Layers)); err != nil {
			return err
		}
	}
	return nil
}
