package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// directory makes a directory, or describes the one that is there. One that
// replaces another kind of file hides what lower layers have of that name, as
// the file did.
func (x *extractor) directory(name string, h *tar.Header) error {
	parent, err := x.tree.dir(path.Dir(name))
	if err != nil {
		return err
	}
	err = unix.Mkdirat(parent.fd, path.Base(name), 0o700)
	switch {
	case err == nil:
		return x.newDirectory(parent, name, h, false)
	case errors.Is(err, unix.EEXIST):
		return x.existing(parent, name, h)
	}
	return wrap("make directory", err)
}

func (x *extractor) existing(parent *dir, name string, h *tar.Header) error {
	st, err := stat(parent.fd, path.Base(name))
	if err != nil {
		return wrap("stat existing file", err)
	}
	if kind(&st) == unix.S_IFDIR {
		return x.merge(name, h)
	}
	if err := x.tree.clear(parent, path.Base(name)); err != nil {
		return err
	}
	if parent, err = x.tree.dir(parent.path); err != nil {
		return err
	}
	if err := unix.Mkdirat(parent.fd, path.Base(name), 0o700); err != nil {
		return wrap("make directory", err)
	}
	return x.newDirectory(parent, name, h, true)
}

// newDirectory describes a directory that was just made. It stays open: its
// content follows in most archives.
func (x *extractor) newDirectory(parent *dir, name string, h *tar.Header, opaque bool) error {
	owned := parent.group
	d, err := x.tree.made(parent, name)
	if err != nil {
		return err
	}
	if opaque {
		if err := setOpaque(d.fd); err != nil {
			return err
		}
	}
	return x.describeDir(d, owned, name, h)
}

func (x *extractor) merge(name string, h *tar.Header) error {
	d, err := x.tree.dir(name)
	if err != nil {
		return err
	}
	return x.describeDir(d, true, name, h)
}

// rootEntry describes the root of the layer, which the caller made.
func (x *extractor) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: the root is not a directory", ErrArchive)
	}
	return x.describeDir(x.tree.root, true, ".", h)
}

func (x *extractor) describeDir(d *dir, owned bool, name string, h *tar.Header) error {
	x.tree.implied.described(d.path)
	if err := x.describe(d.fd, owned, name, h); err != nil {
		return err
	}
	d.times = timesOf(h.AccessTime, h.ModTime)
	d.group = h.Mode&unix.S_ISGID != 0 || h.Gid != 0
	return nil
}
