package unpack

import (
	"bytes"
	"fmt"
	"strconv"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// rawHeader writes a header without asking archive/tar whether it makes sense.
func rawHeader(b *bytes.Buffer, name string, kind byte, size int64) {
	var h [512]byte
	copy(h[:], name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00        ", size, 0))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(h[:])
}

func rawHeaderOf(name string, kind byte, size int64) []byte {
	var b bytes.Buffer
	rawHeader(&b, name, kind, size)
	return b.Bytes()
}

// rawFile announces more than 8 GiB, in the binary form of GNU tar.
func rawFile(name string, size int64) []byte {
	h := rawHeaderOf(name, '0', 0)
	copy(h[124:136], "\x80\x00\x00\x00"+string([]byte{byte(size >> 56), byte(size >> 48), byte(size >> 40), byte(size >> 32), byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}))
	copy(h[257:], "ustar  \x00")
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func pad(b *bytes.Buffer, s string) {
	b.WriteString(s)
	b.Write(make([]byte, -len(s)&511))
}

// sparseArchive is a file of PAX's sparse format 1.0, which archive/tar cannot
// write: size bytes, all of them a hole but for data at the end.
func sparseArchive(size int64, data string) []byte {
	var b bytes.Buffer
	record := func(key, value string) string {
		s := " " + key + "=" + value + "\n"
		for n := len(s) + 1; ; n++ {
			if l := itoa(int64(n)) + s; len(l) == n {
				return l
			}
		}
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
		record("GNU.sparse.name", "sparse") + record("GNU.sparse.realsize", itoa(size))
	rawHeader(&b, "pax", 'x', int64(len(pax)))
	pad(&b, pax)
	regions := "1\n" + itoa(size-int64(len(data))) + "\n" + itoa(int64(len(data))) + "\n"
	rawHeader(&b, "sparse", '0', 512+int64(len(data)))
	pad(&b, regions)
	pad(&b, data)
	b.Write(make([]byte, 1024))
	return b.Bytes()
}
