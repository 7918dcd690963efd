package rootfs

import (
	"hash"
	"io"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobWriter compresses what is written to it, and digests both sides.
type blobWriter struct {
	io.WriteCloser
	plain, stored hash.Hash
	counted       *counter
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += int64(n)
	return n, err
}

func newBlobWriter(file io.Writer, media string) (*blobWriter, error) {
	w := &blobWriter{plain: digest.Canonical.Hash(), stored: digest.Canonical.Hash()}
	w.counted = &counter{Writer: io.MultiWriter(file, w.stored)}
	var err error
	w.WriteCloser, err = compressor(w.counted, media)
	return w, err
}

func (w *blobWriter) Write(b []byte) (int, error) {
	w.plain.Write(b) // never fails (hash.Hash)
	return w.WriteCloser.Write(b)
}

// sums are what was written, after Close.
func (w *blobWriter) sums(media string) (ocispec.Descriptor, digest.Digest) {
	d := ocispec.Descriptor{MediaType: media, Digest: digest.NewDigest(digest.Canonical, w.stored), Size: w.counted.n}
	return d, digest.NewDigest(digest.Canonical, w.plain)
}

// gzipBlock is how much is compressed at once by one processor. The output depends on it.
const gzipBlock = 1 << 20

// compressor compresses fast and, for the same input, always to the same output.
func compressor(w io.Writer, media string) (io.WriteCloser, error) {
	switch media {
	case ocispec.MediaTypeImageLayerGzip:
		z, err := pgzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0)+1)
	case ocispec.MediaTypeImageLayerZstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	case ocispec.MediaTypeImageLayer:
		return plainWriter{w}, nil
	}
	return nil, fail(Unsupported, "", "make a layer of type %q", media)
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }
