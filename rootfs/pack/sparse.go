package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// Files are packed as sparse ones if they have at least minHoles bytes of holes, and those are at least a half.
const minHoles = 1 << 20

// maxSegments bounds what is remembered of one file.
const maxSegments = 1 << 16

// segment is a part of a file that is no hole.
type segment struct{ offset, size int64 }

// dataOf returns the segments of a file with many holes, nil for all others. An empty one at the end tells the size.
func dataOf(fd int, size int64) []segment {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || size-st.Blocks*512 < max(minHoles, size/2) {
		return nil
	}
	segments := []segment{}
	for offset := int64(0); offset < size; {
		start, err := unix.Seek(fd, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && start >= size {
			break
		}
		end, err2 := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil || err2 != nil || len(segments) == maxSegments {
			return nil
		}
		end = min(end, size)
		segments = append(segments, segment{start, end - start})
		offset = end
	}
	if n := len(segments); n == 0 || segments[n-1].offset+segments[n-1].size < size {
		segments = append(segments, segment{size, 0})
	}
	return segments
}

// sparse writes an entry of GNU's format 1.0, which archive/tar can only read: a map of segments as lines of text, padded to
// a block, and then the segments.
func (p *packer) sparse(fd int, h *tar.Header, segments []segment) error {
	content := mapOf(segments)
	stored := int64(len(content))
	for _, s := range segments {
		stored += s.size
	}
	p.report.Entries++
	if err := p.tar.Flush(); err != nil {
		return err
	}
	if err := p.sparseHeader(h, stored); err != nil {
		return err
	}
	if _, err := p.w.Write(content); err != nil {
		return err
	}
	for _, s := range segments {
		if err := p.copy(p.w, fd, s); err != nil {
			return err
		}
	}
	_, err := p.w.Write(make([]byte, padding(stored)))
	return err
}

func mapOf(segments []segment) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, len(segments))
	for _, s := range segments {
		fmt.Fprintf(&b, "%d\n%d\n", s.offset, s.size)
	}
	b.Write(make([]byte, padding(int64(b.Len()))))
	return b.Bytes()
}

const blockSize = 512

func padding(size int64) int64 { return -size & (blockSize - 1) }

// sparseHeader writes an extended header by hand and lets archive/tar make the plain one that follows.
func (p *packer) sparseHeader(h *tar.Header, stored int64) error {
	records := map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": h.Name,
		"GNU.sparse.realsize": strconv.FormatInt(h.Size, 10)}
	maps.Copy(records, h.PAXRecords)
	for key, id := range map[string]int{"uid": h.Uid, "gid": h.Gid} {
		if id > maxOctal {
			records[key] = strconv.Itoa(id)
		}
	}
	if t := h.ModTime.Unix(); t < 0 || t > maxSize {
		records["mtime"] = strconv.FormatInt(t, 10)
	}
	if stored > maxSize {
		records["size"] = strconv.FormatInt(stored, 10)
	}
	body := paxRecords(records)
	if err := writePlain(p.w, tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders.0/sparse", Mode: 0o644}, int64(len(body)), tar.TypeXHeader); err != nil {
		return err
	}
	if _, err := p.w.Write(append(body, make([]byte, padding(int64(len(body))))...)); err != nil {
		return err
	}
	plain := tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/" + shortName(h.Name), Mode: h.Mode, Uid: min(h.Uid, maxOctal),
		Gid: min(h.Gid, maxOctal), ModTime: h.ModTime}
	return writePlain(p.w, plain, min(stored, maxSize), tar.TypeReg)
}

// The highest numbers in a plain header's fields.
const (
	maxOctal = 1<<21 - 1
	maxSize  = 1<<33 - 1
)

// shortName is a name that fits, for tools that know no extended headers.
func shortName(name string) string {
	base := path.Base(name)
	for _, r := range base {
		if r >= 0x80 || len(base) > 80 {
			return "file"
		}
	}
	return base
}
