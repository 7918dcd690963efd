package pack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// paxRecords are the lines "LENGTH KEY=VALUE" of an extended header, where LENGTH counts itself (POSIX.1-2001, pax).
func paxRecords(records map[string]string) []byte {
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(records)) {
		rest := " " + key + "=" + records[key] + "\n"
		size := len(rest)
		for size != len(rest)+len(strconv.Itoa(size)) {
			size = len(rest) + len(strconv.Itoa(size))
		}
		fmt.Fprintf(&b, "%d%s", size, rest)
	}
	return b.Bytes()
}

// writePlain writes one block: a ustar header of any type and size.
func writePlain(w io.Writer, h tar.Header, size int64, kind byte) error {
	var block [blockSize]byte
	if h.ModTime.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	copy(block[0:100], h.Name)
	octal(block[100:108], h.Mode)
	octal(block[108:116], int64(h.Uid))
	octal(block[116:124], int64(h.Gid))
	octal(block[124:136], size)
	octal(block[136:148], max(0, min(h.ModTime.Unix(), maxSize)))
	block[156] = kind
	copy(block[257:265], "ustar\x0000")
	octal(block[329:337], 0)
	octal(block[337:345], 0)
	copy(block[148:156], strings.Repeat(" ", 8))
	sum := int64(0)
	for _, c := range block {
		sum += int64(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	_, err := w.Write(block[:])
	return err
}

func octal(field []byte, value int64) { copy(field, fmt.Sprintf("%0*o\x00", len(field)-1, value)) }
