package rootfs

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/ulikunitz/xz"
)

const (
	bzip2Magic = "BZh"
	xzMagic    = "\xfd7zXZ\x00"
)

// Decompress undoes gzip, zstd, bzip2, xz or nothing, by what the stream begins with: for archives that users bring. Layers of
// images are never compressed with bzip2 or xz.
//
// Errors: BadArchive.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(len(xzMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(bzip2Magic)):
		return decoder{io.NopCloser(bzip2.NewReader(buffered))}, nil
	case bytes.HasPrefix(head, []byte(xzMagic)):
		plain, err := xz.NewReader(buffered)
		return decoded(io.NopCloser(plain), err)
	}
	return decompress(buffered)
}
