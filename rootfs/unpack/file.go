package unpack

import (
	"archive/tar"
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// createFlags make a file of that name and open no other.
const createFlags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC

func (x *extractor) file(name string, h *tar.Header) error {
	if err := x.o.Budget.fits(h.Size); err != nil {
		return err
	}
	return x.place(name, func(parent *dir, base string) error {
		fd, err := handle.Open(parent.fd, base, createFlags, 0o600)
		if err != nil {
			return wrap("create file", err)
		}
		err = x.fill(fd, h)
		if err == nil {
			err = x.describe(fd, parent.group, name, h)
		}
		if err == nil {
			ts := timesOf(h.AccessTime, h.ModTime)
			err = ts.set(fd)
		}
		return errors.Join(err, wrap("close file", unix.Close(fd)))
	})
}

// describe sets what the header says of an open file, but for its times. The
// order matters: a change of owner clears setuid and capabilities. With owned
// the file may have another owner than 0:0 already.
func (x *extractor) describe(fd int, owned bool, name string, h *tar.Header) error {
	if err := x.own(fd, owned, name, h); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, modeOf(h)); err != nil {
		return wrap("set mode", err)
	}
	return x.setXattrs(fd, name, h)
}

// fill writes the content of the current entry.
func (x *extractor) fill(fd int, h *tar.Header) error {
	x.report.Bytes += h.Size
	if isSparse(h) {
		return x.fillSparse(fd, h)
	}
	for left := h.Size; left > 0; {
		p := x.buf[:min(left, int64(len(x.buf)))]
		if _, err := io.ReadFull(x.tar, p); err != nil {
			return wrap("read content", malformed(err))
		}
		if err := writeAll(fd, p); err != nil {
			return wrap("write file", err)
		}
		left -= int64(len(p))
	}
	return nil
}

// sparseBlock is the size of the holes that are looked for.
const sparseBlock = 64 << 10

// fillSparse leaves zeros out: the archive holds none for the holes either.
func (x *extractor) fillSparse(fd int, h *tar.Header) error {
	if err := x.o.Budget.take(h.Size); err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, h.Size); err != nil {
		return wrap("set size", err)
	}
	for off := int64(0); off < h.Size; {
		if err := x.ctx.Err(); err != nil { // a hole does not touch the source, which checks too
			return err
		}
		p := x.buf[:min(h.Size-off, sparseBlock)]
		if _, err := io.ReadFull(x.tar, p); err != nil {
			return wrap("read content", malformed(err))
		}
		if err := pwriteData(fd, p, off); err != nil {
			return wrap("write file", err)
		}
		off += int64(len(p))
	}
	return nil
}

// pwriteData writes p unless it is zeros.
func pwriteData(fd int, p []byte, off int64) error {
	if isZero(p) {
		return nil
	}
	if _, err := unix.Seek(fd, off, io.SeekStart); err != nil {
		return err
	}
	return writeAll(fd, p)
}

var zeros [sparseBlock]byte

func isZero(p []byte) bool { return string(p) == string(zeros[:len(p)]) }

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
