package rootfs

import (
	"context"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// minID is how many characters of an id must be given.
const minID = 4

// byID returns the entry of an id, a manifest's or index's digest, or the beginning of one; nil if there is none. It compares
// with manifests and roots first, which needs no file, and then with configurations.
//
// Errors: BadReference if several images fit.
func (s *Store) byID(index ocispec.Index, id string, want ocispec.Platform) (*ocispec.Descriptor, error) {
	prefix := strings.TrimPrefix(id, "sha256:")
	if len(prefix) < minID || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, nil
	}
	var found *ocispec.Descriptor
	for i, d := range index.Manifests {
		if !fits(d, want) || !s.hasID(d, prefix) || found != nil && s.isSame(*found, d) {
			continue
		}
		if found != nil {
			return nil, fail(BadReference, "give more of it", "find image %s: several ids begin so", id)
		}
		found = &index.Manifests[i]
	}
	return found, nil
}

// isSame is true for entries of one image, also in several forms or of several names, and for those of one index.
func (s *Store) isSame(a, b ocispec.Descriptor) bool {
	if rootOf(a) == rootOf(b) {
		return true
	}
	_, x, err := s.read(a)
	_, y, err2 := s.read(b)
	return err == nil && err2 == nil && x.ID == y.ID
}

func (s *Store) hasID(d ocispec.Descriptor, prefix string) bool {
	if strings.HasPrefix(d.Digest.Encoded(), prefix) || strings.HasPrefix(rootOf(d), "sha256:"+prefix) {
		return true
	}
	_, img, err := s.read(d)
	return err == nil && strings.HasPrefix(img.ID.Encoded(), prefix)
}

// pullStored returns the image of a whole id.
func (s *Store) pullStored(ctx context.Context, ref Reference, o PullOptions) (*Image, error) {
	img, err := s.localByID(ctx, ref.String(), o)
	if err == nil && img == nil {
		err = fail(NotFound, "pull or load the image by its name again", "the store has no image of that id, or not all of it")
	}
	return img, err
}

// localByID returns the image of an id or its beginning, nil if it is not here. An id knows its platform; one that was asked
// for must be the same.
func (s *Store) localByID(ctx context.Context, id string, o PullOptions) (*Image, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	entry, err := s.byID(index, id, ocispec.Platform{})
	if err != nil || entry == nil {
		return nil, err
	}
	if o.Platform != "" && entry.Platform != nil {
		want, err := o.platform()
		if err == nil {
			err = checkPlatform(*entry.Platform, want)
		}
		if err != nil {
			return nil, err
		}
	}
	return s.loadOrUnpack(ctx, *entry, o)
}
