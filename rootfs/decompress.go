package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of a zstd stream: what `zstd --ultra -22 --long=27` needs, and what zstd itself reads
// without being told to.
const maxWindow = 128 << 20

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress undoes gzip, zstd or nothing, by what the stream begins with: media types do not always tell.
//
// Errors: BadArchive, also for errors of r, which the caller knows better.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case isGzip(head):
		return decoded(gzip.NewReader(buffered))
	case isZstd(head):
		return decoded(newZstd(buffered))
	}
	return io.NopCloser(buffered), nil
}

// decoder marks the errors of a decompressor, which have no type in common.
type decoder struct{ io.ReadCloser }

func decoded(r io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, corrupt(err)
	}
	return decoder{r}, nil
}

func (d decoder) Read(b []byte) (int, error) {
	n, err := d.ReadCloser.Read(b)
	if err != nil && err != io.EOF { // one that wraps io.EOF is not the end
		return n, corrupt(err)
	}
	return n, err
}

func corrupt(err error) error { return fail(BadArchive, "", "decompress: %w", err) }

func isGzip(head []byte) bool { return bytes.HasPrefix(head, gzipMagic) }

// isZstd is also true for the skippable frames that zstd:chunked and pzstd may begin with, RFC 8878 section 3.1.2.
func isZstd(head []byte) bool {
	return bytes.Equal(head, zstdMagic) || len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}

func newZstd(r io.Reader) (io.ReadCloser, error) {
	decoder, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return decoder.IOReadCloser(), nil
}
