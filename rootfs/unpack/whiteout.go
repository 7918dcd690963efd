package unpack

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// Attributes of overlayfs, as it reads them when mounted with "userxattr"
// (Linux 5.11).
const ()

// mark applies a whiteout or an opaque mark. Both hide only what lower layers
// have: what this layer has of that name stays, whichever comes first.
func (x *extractor) mark(m *mark) error {
	if m.dir == "" {
		return nil
	}
	parent, err := x.tree.dir(m.dir)
	if err != nil {
		return err
	}
	if m.opaque {
		return cover(parent.fd)
	}
	if handle.IsOpaque(parent.fd) {
		return nil // see dropWhiteouts
	}
	err = x.makeWhiteout(parent, m.hides)
	if errors.Is(err, unix.EEXIST) {
		return coverExisting(parent, m.hides)
	}
	return wrap("make whiteout", err)
}

// coverExisting makes a directory of this layer hide the lower layers' one.
func coverExisting(parent *dir, base string) error {
	fd, err := handle.Open(parent.fd, base, handle.DirFlags, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // it hides what is below by itself
	}
	if err != nil {
		return wrap("open directory", err)
	}
	return errors.Join(cover(fd), wrap("close directory", unix.Close(fd)))
}

// cover makes a directory opaque that may have content.
func cover(fd int) error {
	if err := setOpaque(fd); err != nil {
		return err
	}
	return wrap("drop whiteouts of an opaque directory", dropWhiteouts(fd))
}

// dropWhiteouts deletes what has nothing to hide in an opaque directory: the
// kernel would list it there as a name without a file.
func dropWhiteouts(at int) error {
	for names, err := range handle.Names(at) {
		if err != nil {
			return err
		}
		for _, name := range names {
			if !isWhiteoutAt(at, name) {
				continue
			}
			if err := unix.Unlinkat(at, name, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *extractor) makeWhiteout(parent *dir, base string) error {
	err := x.o.mknod(parent.fd, base)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return xattrWhiteout(parent, base)
	}
	return err
}

// mknod makes the character device 0/0, which needs no privilege (Linux 5.8).
func (o *Options) mknod(at int, base string) error {
	if o.noDevices {
		return unix.EPERM
	}
	return unix.Mknodat(at, base, unix.S_IFCHR, 0)
}

// xattrWhiteout makes the form that Linux 6.7 added: an empty file with an
// attribute, in a directory marked with "x".
func xattrWhiteout(parent *dir, base string) error {
	if !kernelHas(6, 7) {
		return ErrWhiteout
	}
	fd, err := handle.Open(parent.fd, base, createFlags, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(setOwnXattr(fd, handle.Whiteout, "y"), wrap("close file", unix.Close(fd)))
	if err != nil {
		return err
	}
	return setOwnXattr(parent.fd, handle.Opaque, "x")
}

// isWhiteoutAt tells whether base is either form of whiteout.
func isWhiteoutAt(at int, base string) bool {
	st, err := stat(at, base)
	if err != nil || isWhiteout(&st) || kind(&st) != unix.S_IFREG || st.Size != 0 {
		return err == nil && isWhiteout(&st)
	}
	fd, err := handle.Open(at, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = unix.Fgetxattr(fd, handle.Whiteout, nil)
	return err == nil
}

// setOpaque hides all that lower layers have in a directory.
func setOpaque(fd int) error { return setOwnXattr(fd, handle.Opaque, "y") }

// kernelHas compares the release of the running kernel.
func kernelHas(major, minor int) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}
