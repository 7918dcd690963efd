package rootfs

import (
	"iter"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// allBlobs are the digests by which files lie among the blobs, whatever is in them.
func (s *Store) allBlobs() iter.Seq[digest.Digest] {
	return func(yield func(digest.Digest) bool) {
		for _, algorithm := range entries(s.path(ocispec.ImageBlobsDir)) {
			for _, entry := range entries(s.path(ocispec.ImageBlobsDir, algorithm.Name())) {
				d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm.Name()), entry.Name())
				if d.Validate() == nil && !yield(d) {
					return
				}
			}
		}
	}
}

// placed is a directory of an unpacked layer.
type placed struct {
	key    string // of the id mapping
	diffID digest.Digest
	dir    string
}

// allLayers are the directories of unpacked layers of all id mappings, complete or not.
func (s *Store) allLayers() iter.Seq[placed] {
	return func(yield func(placed) bool) {
		for _, key := range entries(s.path("layers")) {
			for _, algorithm := range entries(s.path("layers", key.Name())) {
				dir := s.path("layers", key.Name(), algorithm.Name())
				for _, entry := range entries(dir) {
					d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm.Name()), entry.Name())
					if d.Validate() == nil && !yield(placed{key.Name(), d, filepath.Join(dir, entry.Name())}) {
						return
					}
				}
			}
		}
	}
}
