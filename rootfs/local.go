package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// find returns the entry of the store that a reference names for a platform. It reads index.json alone.
func (s *Store) find(ref Reference, want ocispec.Platform) (entry ocispec.Descriptor, ok bool, _ error) {
	index, err := s.index()
	if err != nil {
		return entry, false, err
	}
	for _, d := range index.Manifests {
		if means(d, ref) && fits(d, want) {
			return d, true, nil
		}
	}
	return entry, false, nil
}

// fits is true for the platform itself, for what was taken in its place, and if any will do.
func fits(d ocispec.Descriptor, want ocispec.Platform) bool {
	if want.OS == "" || d.Annotations[annotationAsked] == platforms.FormatAll(platforms.Normalize(want)) {
		return true
	}
	return d.Platform != nil && platforms.OnlyStrict(want).Match(platforms.Normalize(*d.Platform))
}

// means is true if an entry is what a reference names: by its name, or by a digest of the same repository.
func means(d ocispec.Descriptor, ref Reference) bool {
	if ref.Transport != Registry {
		return sourceOf(d) == ref.String()
	}
	name := ref.stored()
	if nameOf(d) == name || d.Annotations[annotationShort] == name {
		return true
	}
	return ref.Digest != "" && d.Annotations[annotationRepo] == ref.Domain+"/"+ref.Repository &&
		(d.Digest == ref.Digest || rootOf(d) == ref.Digest.String())
}

// local returns an image if all that is needed to run it is in the store, unpacked for this id mapping; else nil.
// It is on the way of every `bivouac run`: no network, no other files than those of the image.
func (s *Store) local(ctx context.Context, ref Reference, o PullOptions) (*Image, error) {
	want, err := o.platform()
	if err != nil {
		return nil, err
	}
	entry, ok, err := s.find(ref, want)
	if err != nil || !ok {
		return nil, err
	}
	return s.loadOrUnpack(ctx, entry, o)
}

// load reads the image of an entry, and notes that this process needs it. It returns nil if anything is missing or damaged:
// a pull will mend it.
func (s *Store) load(entry ocispec.Descriptor, reowned bool) (*Image, error) {
	manifest, img, err := s.read(entry)
	if err != nil {
		return nil, missing(err)
	}
	if err := s.hold(imageKeys(entry, manifest, img.Config.RootFS.DiffIDs)...); err != nil {
		return nil, err
	}
	for _, d := range []digest.Digest{entry.Digest, manifest.Config.Digest} { // they may have been removed before that was noted
		if _, err := os.Lstat(s.blobPath(d)); err != nil {
			return nil, missing(err)
		}
	}
	hides := false
	for i, id := range img.Config.RootFS.DiffIDs {
		info, ok := s.readLayer(id)
		if !ok || info.Reowned && !reowned {
			return nil, nil
		}
		hides = hides || info.mayHide(i)
		img.Layers = append(img.Layers, s.lowerDir(id))
		img.Notes = append(img.Notes, info.Notes...)
	}
	if !hides {
		return img, nil
	}
	return s.withParents(img), nil
}

// missing returns nil for errors that say that the store lacks something.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, DigestMismatch) || errors.Is(err, BadImage) {
		return nil
	}
	return err
}

// read reads manifest and configuration of an entry, checked.
func (s *Store) read(entry ocispec.Descriptor) (ocispec.Manifest, *Image, error) {
	content, err := s.readBlob(entry)
	if err != nil {
		return ocispec.Manifest{}, nil, err
	}
	manifest, err := parseManifest(content)
	if err != nil {
		return manifest, nil, err
	}
	if content, err = s.readBlob(manifest.Config); err != nil {
		return manifest, nil, err
	}
	config, err := parseConfig(content, len(manifest.Layers))
	return manifest, &Image{Name: imageName(entry), Digest: entry.Digest, ID: manifest.Config.Digest,
		Config: config, RawConfig: content}, err
}

func imageName(entry ocispec.Descriptor) string {
	if name := nameOf(entry); name != "" {
		return name
	}
	if from := sourceOf(entry); from != "" {
		return from
	}
	if repo := entry.Annotations[annotationRepo]; repo != "" {
		return repo + "@" + rootOf(entry)
	}
	return entry.Digest.String()
}
