package rootfs

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// nothing is a source for images whose blobs are all in the store.
type nothing struct{ entry ocispec.Descriptor }

func (n nothing) resolve(context.Context) (resolved, error) {
	return resolved{ocispec.Descriptor{MediaType: n.entry.MediaType, Digest: n.entry.Digest, Size: n.entry.Size}, maps.Clone(n.entry.Annotations)}, nil
}

func (n nothing) manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	return nil, lost(d)
}

func (n nothing) blob(_ context.Context, d ocispec.Descriptor, _ int64) (io.ReadCloser, error) {
	return nil, lost(d)
}

func (nothing) Close() error { return nil }

func lost(d ocispec.Descriptor) error {
	return fail(NotFound, "pull the image again, or see `bivouac system check`", "blob %s is missing in the store, or damaged", d.Digest)
}

// loadOrUnpack is load that unpacks layers which are not, as for this id mapping, if all blobs of the image are in the store.
// A damaged blob is none, if a registry may have it.
func (s *Store) loadOrUnpack(ctx context.Context, entry ocispec.Descriptor, o PullOptions) (*Image, error) {
	img, err := s.load(entry, o.IgnoreChownErrors)
	if img != nil || err != nil || !s.hasLayerBlobs(entry) {
		return img, err
	}
	img, err = s.unpackStored(ctx, entry, o)
	if entry.Annotations[annotationLocal] == "" && (errors.Is(err, NotFound) || errors.Is(err, DigestMismatch) || errors.Is(err, BadArchive)) {
		return nil, nil
	}
	return img, err
}

func (s *Store) hasLayerBlobs(entry ocispec.Descriptor) bool {
	manifest, _, err := s.read(entry)
	return err == nil && !slices.ContainsFunc(manifest.Layers, func(d ocispec.Descriptor) bool { return !s.hasBlob(d) })
}

// unpackStored unpacks an image of the store from its blobs: for this id mapping, or because somebody has removed its layers.
//
// Errors: NotFound if blobs are missing.
func (s *Store) unpackStored(ctx context.Context, entry ocispec.Descriptor, o PullOptions) (*Image, error) {
	want := ocispec.Platform{}
	if entry.Platform != nil {
		want = *entry.Platform
	}
	p := &pull{store: s, source: nothing{entry}, o: o, report: &reporter{sink: o.Progress}, want: want}
	var err error
	if p.found, err = p.source.resolve(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := p.unpackAll(ctx); err != nil {
		return nil, err
	}
	img, err := s.load(entry, o.IgnoreChownErrors)
	if img == nil && err == nil {
		err = lost(entry)
	}
	return img, err
}

// unpackAll is the part of run that changes no name.
func (p *pull) unpackAll(ctx context.Context) error {
	manifest, img, err := p.store.read(p.found.root)
	if err != nil {
		if missing(err) == nil {
			err = lost(p.found.root)
		}
		return err
	}
	if err := p.store.hold(imageKeys(p.found.root, manifest, img.Config.RootFS.DiffIDs)...); err != nil {
		return err
	}
	if err := p.layers(ctx, manifest, img.Config); err != nil {
		return err
	}
	return p.store.ensureParents(ctx, img.Config.RootFS.DiffIDs, p.report)
}
