package rootfs

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// content is all that the store has of what a name stands for, as it is handed on to registries and archives.
type content struct {
	root      ocispec.Descriptor   // the name's index or manifest
	documents []ocispec.Descriptor // indexes and manifests, each behind those that it names: root is the last
	blobs     []ocispec.Descriptor // configurations and layers, each once
	images    []imageParts         // what the manifests are about
	part      bool                 // the name stands for an index of which not all is here: root is one of its manifests
}

// imageParts are a manifest and its configuration.
type imageParts struct {
	d        ocispec.Descriptor
	manifest ocispec.Manifest
	config   *Image
}

// contentOf collects what an entry stands for: the index that its name means if all of that is here, else the manifest, which
// is also what single asks for. None of it is removed before this process ends.
//
// Errors: NotFound if blobs are missing, DigestMismatch, BadImage.
func (s *Store) contentOf(entry ocispec.Descriptor, single bool) (*content, error) {
	root := digest.Digest(rootOf(entry))
	if root != entry.Digest && root.Validate() == nil && !single {
		c := &content{}
		err := s.gather(c, ocispec.Descriptor{Digest: root}, 0)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	c := &content{part: root != entry.Digest}
	err := s.gather(c, ocispec.Descriptor{MediaType: entry.MediaType, Digest: entry.Digest, Size: entry.Size}, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(NotFound, "pull it again", "read %s: part of it is not in the store: %w", imageName(entry), err)
	}
	return c, err
}

// gather adds a document and all that it names. What is missing is an fs.ErrNotExist.
func (s *Store) gather(c *content, d ocispec.Descriptor, depth int) error {
	if slices.ContainsFunc(c.documents, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest }) {
		return nil
	}
	if err := s.hold(blobKey(d.Digest)); err != nil {
		return err
	}
	text, err := s.readBlob(d)
	if err != nil {
		return err
	}
	d.Size = int64(len(text))
	if d.MediaType, err = sniff(text, d.MediaType); err != nil {
		return err
	}
	switch {
	case isManifest(d.MediaType):
		err = s.gatherManifest(c, d)
	case depth == maxNesting:
		err = fail(BadImage, "", "read image index: more than %d indexes in each other", maxNesting)
	default:
		err = s.gatherIndex(c, text, depth)
	}
	if err == nil {
		c.root = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
		c.documents = append(c.documents, c.root)
	}
	return err
}

func (s *Store) gatherIndex(c *content, text []byte, depth int) error {
	index, err := parseIndex(text)
	if err != nil {
		return err
	}
	for _, child := range index.Manifests {
		if err := s.gather(c, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) gatherManifest(c *content, d ocispec.Descriptor) error {
	manifest, config, err := s.read(d)
	if err != nil {
		return err
	}
	c.images = append(c.images, imageParts{d, manifest, config})
	for _, blob := range append([]ocispec.Descriptor{manifest.Config}, manifest.Layers...) {
		if slices.ContainsFunc(c.blobs, func(o ocispec.Descriptor) bool { return o.Digest == blob.Digest }) {
			continue
		}
		if err := s.hold(blobKey(blob.Digest)); err != nil {
			return err
		}
		if isForeign(blob.MediaType) && len(blob.URLs) > 0 && !s.hasBlob(blob) {
			continue // its home is elsewhere
		}
		if !s.hasBlob(blob) {
			return &fs.PathError{Op: "find blob", Path: blob.Digest.String(), Err: fs.ErrNotExist}
		}
		c.blobs = append(c.blobs, blob)
	}
	return nil
}
