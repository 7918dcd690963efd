package pack

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

func hasPrefix(base string) bool { return strings.HasPrefix(base, whiteoutPrefix) }

// file is one that is no directory.
type file struct {
	dir        *dir
	base, name string
	st         unix.Stat_t
}

func (f *file) kind() uint32 { return f.st.Mode & unix.S_IFMT }

// link is the place of the file among those of several names.
func (f *file) inode() inode { return inode{f.st.Dev, f.st.Ino} } //nolint:unconvert // 32 bits wide on some machines

func (p *packer) file(f *file) error {
	switch f.kind() {
	case unix.S_IFCHR:
		if f.st.Rdev == 0 {
			return p.whiteout(f)
		}
	case unix.S_IFSOCK:
		p.report.Sockets.Add(f.name)
		return p.remove(f.dir, f.base)
	case unix.S_IFREG:
		return p.regular(f)
	case unix.S_IFLNK:
		return p.symlink(f)
	case unix.S_IFIFO:
		return p.special(f, tar.TypeFifo, "")
	}
	return errors.New("a user namespace cannot have made this device")
}

// whiteout hides a name of the layers below. In an opaque directory there is nothing to hide.
func (p *packer) whiteout(f *file) error {
	if f.dir.attrs.opaque() {
		return p.remove(f.dir, f.base)
	}
	return p.mark(strings.TrimSuffix(f.name, f.base) + whiteoutPrefix + f.base)
}

// mark writes an entry that is not a file.
func (p *packer) mark(name string) error {
	return p.write(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
}

func (p *packer) symlink(f *file) error {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(f.dir.fd, f.base, b[:])
	if handle.Gone(err) || errors.Is(err, unix.EINVAL) {
		return nil // it was replaced
	}
	if err != nil {
		return err
	}
	return p.special(f, tar.TypeSymlink, string(b[:n]))
}

// special packs what has no content and no attributes.
func (p *packer) special(f *file, kind byte, target string) error {
	if linked, err := p.linked(f); linked || err != nil {
		return err
	}
	h := p.header(f.name, &f.st, nil)
	h.Typeflag, h.Linkname = kind, target
	if kind == tar.TypeSymlink {
		h.Mode = 0o777
	}
	if err := p.write(h); err != nil {
		return err
	}
	return p.clampAt(f)
}

// linked writes a further name of a file as a hard link.
func (p *packer) linked(f *file) (bool, error) {
	if f.st.Nlink < 2 {
		return false, nil
	}
	first, ok := p.links[f.inode()]
	if !ok {
		p.links[f.inode()] = f.name
		return false, nil
	}
	h := p.header(f.name, &f.st, nil)
	h.Typeflag, h.Linkname = tar.TypeLink, first
	return true, p.write(h)
}

// regular packs a regular file, or an empty one that stands for a whiteout.
func (p *packer) regular(f *file) error {
	fd, err := handle.Open(f.dir.fd, f.base, openFileFlags, 0)
	if handle.Gone(err) || errors.Is(err, unix.ENXIO) {
		return nil // it was replaced, by a socket in the last case
	}
	if err != nil {
		return err
	}
	err = p.opened(f, fd)
	return errors.Join(err, unix.Close(fd))
}

func (p *packer) opened(f *file, fd int) error {
	if err := unix.Fstat(fd, &f.st); err != nil || f.kind() != unix.S_IFREG {
		return err
	}
	attrs, err := readAttributes(fd)
	if err != nil {
		return err
	}
	if f.dir.attrs.holdsWhiteouts() && f.st.Size == 0 && attrs.whiteout() {
		return p.whiteout(f)
	}
	if linked, err := p.linked(f); linked || err != nil {
		return err
	}
	h := p.header(f.name, &f.st, attrs)
	h.Typeflag, h.Size = tar.TypeReg, f.st.Size
	p.report.Bytes += h.Size
	if err := p.content(fd, h); err != nil {
		return err
	}
	return p.adopt(fd, h, attrs)
}

// content writes a file's header and its bytes.
func (p *packer) content(fd int, h *tar.Header) error {
	if segments := dataOf(fd, h.Size); segments != nil {
		return p.sparse(fd, h, segments)
	}
	if err := p.write(h); err != nil {
		return err
	}
	return p.copy(p.tar, fd, segment{0, h.Size})
}

// copy writes a part of a file. What the file has not, or not any more, is zeros.
func (p *packer) copy(w io.Writer, fd int, s segment) error {
	for s.size > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		b := p.buf[:min(s.size, copySize)]
		n, err := pread(fd, b, s.offset)
		if err != nil {
			return err
		}
		if n == 0 {
			clear(b)
			n = len(b)
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		s.offset, s.size = s.offset+int64(n), s.size-int64(n)
	}
	return nil
}
