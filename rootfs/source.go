package rootfs

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// source is where one image comes from. Nothing that it gives is to be trusted: the store checks all digests.
type source interface {
	// resolve says what the reference means: an index or a manifest, and under which name the store keeps it.
	resolve(ctx context.Context) (resolved, error)
	// manifest returns an index or manifest.
	manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// blob returns the bytes of d from offset on.
	blob(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)
	// Close ends it. Blobs that are still open become useless.
	Close() error
}

// resolved is the answer of a source.
type resolved struct {
	root        ocispec.Descriptor
	annotations map[string]string // of the entry in index.json: the name, or the archive
}
