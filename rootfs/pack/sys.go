package pack

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	openDirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	// openFileFlags do not wait for the writer of a fifo that took the file's place, nor make a terminal ours.
	openFileFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
)

// uninterrupted repeats a system call that a signal ended; file systems in user space let that happen.
func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func open(at int, name string, flags int) (fd int, err error) {
	err = uninterrupted(func() error {
		fd, err = unix.Openat(at, name, flags, 0)
		return err
	})
	return fd, err
}

// openBelow opens a directory of the tree, with no symlink or mount point in its name.
func (p *packer) openBelow(name string) (int, error) { return openBelow(p.root, name) }

func openBelow(root int, name string) (fd int, err error) {
	how := unix.OpenHow{Flags: openDirFlags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
	err = uninterrupted(func() error {
		fd, err = unix.Openat2(root, name, &how)
		return err
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENAMETOOLONG) {
		return stepBelow(root, name) // a profile that knows no openat2, or too much for one call
	}
	return fd, err
}

func stepBelow(root int, name string) (int, error) {
	fd, err := open(root, ".", openDirFlags)
	for component := range strings.SplitSeq(name, "/") {
		if err != nil {
			break
		}
		at := fd
		fd, err = open(at, component, openDirFlags)
		unix.Close(at)
	}
	return fd, err
}

// list returns the names in an open directory.
func list(fd int) ([]string, error) {
	again, err := open(fd, ".", openDirFlags)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "directory")
	defer f.Close()
	return f.Readdirnames(-1)
}

func pread(fd int, b []byte, offset int64) (n int, err error) {
	err = uninterrupted(func() error {
		n, err = unix.Pread(fd, b, offset)
		return err
	})
	return n, err
}

// gone tells of what is not there any more, or is something else.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
