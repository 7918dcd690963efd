package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerSource is what `docker save` writes: configurations and uncompressed layers, and a list of the images. The store
// gets an OCI image made of the same configuration and layers.
type dockerSource struct {
	ref         Reference
	files       files
	annotations map[string]string

	names     map[digest.Digest]string // of configuration and layers in the archive
	made      []byte                   // the manifest
	described ocispec.Descriptor
}

type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (s *dockerSource) resolve(ctx context.Context) (resolved, error) {
	var images []dockerImage
	if err := readJSON(s.files, "manifest.json", maxManifest, &images); err != nil {
		return resolved{}, unreadable(s.ref, err)
	}
	image, err := s.pick(images)
	if err != nil {
		return resolved{}, err
	}
	if err := s.make(ctx, image); err != nil {
		return resolved{}, err
	}
	return resolved{s.described, maps.Clone(s.annotations)}, nil
}

// pick returns the image that the reference names. Names are compared in full.
func (s *dockerSource) pick(images []dockerImage) (dockerImage, error) {
	want, err := fullName(s.ref.Tag)
	if err != nil {
		return dockerImage{}, badReference(s.ref.String(), "%w", err)
	}
	var names []string
	fitting := slices.DeleteFunc(slices.Clone(images), func(image dockerImage) bool {
		names = append(names, image.RepoTags...)
		return want != "" && !slices.ContainsFunc(image.RepoTags, func(tag string) bool {
			full, err := fullName(tag)
			return err == nil && full == want
		})
	})
	if len(fitting) != 1 {
		return dockerImage{}, choiceError(len(fitting), s.ref.Tag, names)
	}
	return fitting[0], nil
}

func fullName(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	named, err := splitName(s)
	return named.Name(), err
}

// make composes the manifest.
func (s *dockerSource) make(ctx context.Context, image dockerImage) error {
	content, err := readPart(s.files, image.Config, maxConfig)
	if err != nil {
		return unreadable(s.ref, err)
	}
	if len(image.Layers) > maxLayers {
		return fail(TooLarge, "", "read %s: %d layers, more than %d", s.ref.Path, len(image.Layers), maxLayers)
	}
	config, err := parseConfig(content, len(image.Layers))
	if err != nil {
		return err
	}
	made := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: describe(ocispec.MediaTypeImageConfig, content), Layers: []ocispec.Descriptor{}}
	s.names = map[digest.Digest]string{made.Config.Digest: image.Config}
	for i, name := range image.Layers {
		d, err := s.layer(ctx, name, config.RootFS.DiffIDs[i])
		if err != nil {
			return unreadable(s.ref, err)
		}
		made.Layers = append(made.Layers, d)
		s.names[d.Digest] = name
	}
	if s.made, err = json.Marshal(made); err != nil {
		return err
	}
	s.described = describe(made.MediaType, s.made)
	return nil
}

// describe is the descriptor of content.
func describe(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// layer describes a layer: an uncompressed one has its diff ID for a digest, which is checked as every digest is.
func (s *dockerSource) layer(ctx context.Context, name string, diffID digest.Digest) (ocispec.Descriptor, error) {
	file, err := s.files.open(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer file.Close()
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: diffID, Size: file.Size()}
	head, err := magic(file, len(zstdMagic))
	switch {
	case err != nil:
		return d, err
	case isGzip(head):
		d.MediaType = ocispec.MediaTypeImageLayerGzip
	case isZstd(head):
		d.MediaType = ocispec.MediaTypeImageLayerZstd
	default:
		return d, nil
	}
	d.Digest, err = digest.FromReader(cancellable{ctx, file})
	return d, err
}

// cancellable ends reading with its context.
type cancellable struct {
	ctx context.Context
	io.Reader
}

func (c cancellable) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(b)
}

func (s *dockerSource) manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Digest != s.described.Digest {
		return nil, fmt.Errorf("bug: no manifest %s was made", d.Digest)
	}
	return bytes.Clone(s.made), nil
}

func (s *dockerSource) blob(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	name, ok := s.names[d.Digest]
	if !ok {
		return nil, fmt.Errorf("bug: %s is not of this image", d.Digest)
	}
	body, err := openAt(s.files, name, d, offset)
	if err != nil {
		return nil, unreadable(s.ref, err)
	}
	return body, nil
}

func (s *dockerSource) Close() error { return s.files.Close() }
