package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// place calls make with the parent directory of name. If there is a file of
// that name it is taken away and make called once more.
func (x *extractor) place(name string, make func(parent *dir, base string) error) error {
	parent, err := x.tree.dir(path.Dir(name))
	if err != nil {
		return err
	}
	if err = make(parent, path.Base(name)); !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := x.tree.clear(parent, path.Base(name)); err != nil {
		return err
	}
	// The name may have led through what was just taken away, the path did not.
	if parent, err = x.tree.dir(parent.path); err != nil {
		return err
	}
	return make(parent, path.Base(name))
}

func (x *extractor) symlink(name string, h *tar.Header) error {
	return x.place(name, func(parent *dir, base string) error {
		if err := unix.Symlinkat(h.Linkname, parent.fd, base); err != nil {
			return wrap("make symlink", err)
		}
		return x.finishAt(parent, base, name, h)
	})
}

func (x *extractor) fifo(name string, h *tar.Header) error {
	return x.place(name, func(parent *dir, base string) error {
		if err := unix.Mknodat(parent.fd, base, unix.S_IFIFO|0o600, 0); err != nil {
			return wrap("make fifo", err)
		}
		return x.finishAt(parent, base, name, h)
	})
}

// finishAt completes a file that is not opened: a symlink or a fifo.
func (x *extractor) finishAt(parent *dir, base, name string, h *tar.Header) error {
	for attr := range xattrs(h) {
		x.report.Xattrs.Add(attr + " on " + name)
	}
	if err := x.ownAt(parent, base, name, h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeFifo { // after the owner: that clears setuid
		if err := unix.Fchmodat(parent.fd, base, modeOf(h), 0); err != nil {
			return wrap("set mode", err)
		}
	}
	ts := timesOf(h.AccessTime, h.ModTime)
	return ts.setAt(parent.fd, base, unix.AT_SYMLINK_NOFOLLOW)
}

// hardlink gives an earlier file another name. Its owner, mode and times are
// that file's: the header of a hard link repeats them.
func (x *extractor) hardlink(name string, h *tar.Header) error {
	target, err := clean(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return x.place(name, func(parent *dir, base string) error {
		from, err := x.tree.lookup(path.Dir(target)) // closes the least used directory, never parent
		if err == nil {
			err = link(from.fd, path.Base(target), parent.fd, base)
		}
		return linkError(h, err)
	})
}

// link does nothing if both names are one file already: to make room for the
// link would delete what it is to lead to.
func link(fromAt int, from string, toAt int, to string) error {
	err := unix.Linkat(fromAt, from, toAt, to, 0)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	a, errA := stat(fromAt, from)
	b, errB := stat(toAt, to)
	if errA == nil && errB == nil && a.Ino == b.Ino {
		return nil
	}
	return err
}

// linkError blames the archive for a target that is missing or a directory.
func linkError(h *tar.Header, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: hard link to %q, which is no file of this layer: %w", ErrArchive, h.Linkname, err)
	}
	return fmt.Errorf("make hard link to %q: %w", h.Linkname, err)
}

// device leaves a device node out, and takes away what it would have replaced.
func (x *extractor) device(name string) error {
	x.report.Devices.Add(name)
	parent, err := x.tree.lookup(path.Dir(name))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = x.tree.clear(parent, path.Base(name)); errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func modeOf(h *tar.Header) uint32 { return uint32(h.Mode & 0o7777) }
