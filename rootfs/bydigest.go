package rootfs

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ByDigest returns the image that has a manifest of this digest, if it is in the store and unpacked for this id mapping,
// whatever names it has; otherwise nil. Its own name is the digest.
//
// Errors: those of reading a store.
func (s *Store) ByDigest(manifest digest.Digest, reowned bool) (*Image, error) {
	if manifest.Validate() != nil {
		return nil, nil
	}
	info, err := os.Lstat(s.blobPath(manifest))
	if err != nil {
		return nil, missing(err)
	}
	return s.loadOrUnpack(context.Background(), ocispec.Descriptor{Digest: manifest, Size: info.Size()}, PullOptions{IgnoreChownErrors: reowned})
}
