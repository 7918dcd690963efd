package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// writeAside copies a file, and has it on the disk when it returns. Of a file with several names it makes one.
func (a *applying) writeAside(at *place, aside string, s *tryStep) (err error) {
	from, err := a.view.Open(nameOf(s.change.Path))
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was only read
	id, several := fileOf(from)
	if several && a.linkAside(at, aside, id) {
		return nil
	}
	fd, err := unix.Openat(at.fd(), aside, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), aside)
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := fill(to, from, s); err != nil {
		return err
	}
	made := &found{}
	if err := unix.Fstat(fd, &made.Stat_t); several && err == nil {
		a.made[id] = madeFile{path: s.change.Path, inode: made.inode()}
	}
	return to.Sync()
}

// fill gives a new file all but its name.
func fill(to *os.File, from fs.File, s *tryStep) error {
	if err := copyContent(to, from); err != nil {
		return err
	}
	if err := keepGroup(to, s.old); err != nil {
		return err
	}
	if err := unix.Fchmod(int(to.Fd()), allowedMode(s.now)); err != nil {
		return err
	}
	if err := withDescriptor(from, func(fd int) error { return copyAttributes(int(to.Fd()), fd) }); err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(to.Fd()), "", timesOf(s.now.ModTime()), unix.AT_EMPTY_PATH)
}

// keepGroup gives a file the group of the one that it is to replace.
func keepGroup(to *os.File, old *found) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(to.Fd()), &st); err != nil || old == nil || old.kind() != unix.S_IFREG || st.Gid == old.Gid {
		return err
	}
	return unix.Fchown(int(to.Fd()), -1, int(old.Gid))
}

// madeFile is a file that was made under one of its names.
type madeFile struct {
	path string
	inode
}

// fileOf tells which file of the view an open one is, and whether it has several names there.
func fileOf(f fs.File) (id inode, several bool) {
	var is found
	err := withDescriptor(f, func(fd int) error { return unix.Fstat(fd, &is.Stat_t) })
	return is.inode(), err == nil && is.Nlink > 1
}

// linkAside gives a file that was made already another name, if it is still there, and its file system has such.
func (a *applying) linkAside(at *place, aside string, id inode) bool {
	made, ok := a.made[id]
	if !ok {
		return false
	}
	from, err := openPlace(made.path)
	if err != nil {
		return false
	}
	defer from.close()
	if err := unix.Linkat(from.fd(), from.base, at.fd(), aside, 0); err != nil {
		return false
	}
	if is, err := lookIn(at.dir, aside); err == nil && is != nil && is.inode() == made.inode {
		return true
	}
	_ = unix.Unlinkat(at.fd(), aside, 0)
	return false
}

// withDescriptor calls use with what a file of a view is open as. One that is none of the system's has no attributes, holes or
// names.
func withDescriptor(f fs.File, use func(fd int) error) error {
	conn, ok := f.(syscall.Conn)
	if !ok {
		return nil
	}
	return handle.Control(conn, use)
}

// copyContent copies a file but for its holes.
func copyContent(to *os.File, from fs.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	in, ok := from.(io.ReaderAt)
	if !ok {
		_, err := io.Copy(to, from)
		return err
	}
	size := info.Size()
	if err := to.Truncate(size); err != nil {
		return err
	}
	for offset := int64(0); offset < size; {
		start, end, err := nextData(from, offset, size)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.NewOffsetWriter(to, start), io.NewSectionReader(in, start, end-start))
		if err == nil && n < end-start {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		offset = end
	}
	return nil
}

// nextData finds where a file has data from an offset on, nothing at its end. Where that is not known, all is data.
func nextData(f fs.File, offset, size int64) (start, end int64, err error) {
	start, end = offset, size
	err = withDescriptor(f, func(fd int) error {
		data, err := unix.Seek(fd, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			start = size
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		start, end = min(data, size), min(hole, size)
		return err
	})
	return start, end, err
}

// copyAttributes gives a file or directory the attributes of a user's, and the access control lists: those that it has and
// no others. Where its file system has none it goes without.
func copyAttributes(to, from int) error {
	given, err := handle.Attributes(to, isAccessList) // that its directory gave it
	if err != nil {
		return err
	}
	for name := range given {
		if err := unix.Fremovexattr(to, name); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove attribute %q: %w", name, err)
		}
	}
	attrs, err := handle.Attributes(from, isCopiedAttribute)
	if err != nil {
		return err
	}
	for name, value := range attrs {
		if err := unix.Fsetxattr(to, name, []byte(value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("copy attribute %q: %w", name, err)
		}
	}
	return nil
}

func isAccessList(name string) bool { return strings.HasPrefix(name, "system.posix_acl_") }

// isCopiedAttribute leaves out the one that keeps owners for users with a single id.
func isCopiedAttribute(name string) bool {
	return strings.HasPrefix(name, "user.") && name != handle.OwnerAttribute || isAccessList(name)
}
