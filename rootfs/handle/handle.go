// Package handle speaks with the kernel about the files of trees that others made, by open directories and one name in them:
// how to get there without following a link, and the attributes that overlayfs and we keep there.
package handle

import (
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DirFlags open a directory that is not a symlink.
const DirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// Uninterrupted repeats a system call that a signal ended; file systems in user space let that happen.
func Uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Open is openat(2), uninterrupted, of a file that programs do not inherit.
func Open(at int, name string, flags int, mode uint32) (fd int, err error) {
	err = Uninterrupted(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// Control calls f with an open file's descriptor, without making the file a blocking one as [os.File.Fd] does. The descriptor is
// open until f returns.
//
// Errors: that of f; os.ErrClosed.
func Control(file syscall.Conn, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// OpenDir opens a directory of our own as the root of a tree.
func OpenDir(path string) (*os.File, error) {
	fd, err := Open(unix.AT_FDCWD, path, DirFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenBelow opens the directory that a clean relative path leads to, "." for root itself, through no symlink, no mount point
// and no "..". The path may be longer than the kernel takes at once.
//
// Errors: what [Gone] tells of; EXDEV for what lies elsewhere.
func OpenBelow(root int, name string) (fd int, err error) {
	if len(name) < unix.PathMax {
		return openPart(root, name)
	}
	fd = root
	for part := range parts(name) {
		below, err := openPart(fd, part)
		if fd != root {
			unix.Close(fd)
		}
		if err != nil {
			return -1, err
		}
		fd = below
	}
	return fd, nil
}

// parts cuts a path into some that the kernel takes. A component that is too long for it is a part of its own.
func parts(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name != "" {
			part := name
			if len(part) >= unix.PathMax {
				if end := strings.LastIndexByte(part[:unix.PathMax], '/'); end > 0 {
					part = part[:end]
				}
			}
			name = strings.TrimPrefix(name[len(part):], "/")
			if !yield(part) {
				return
			}
		}
	}
}

// openPart opens a directory by a path that the kernel takes at once; where openat2(2) is forbidden, step by step.
func openPart(at int, name string) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   DirFlags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	err = Uninterrupted(func() error {
		fd, err = unix.Openat2(at, name, &how)
		return err
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openSteps(at, name)
	}
	return fd, err
}

func openSteps(at int, name string) (int, error) {
	fd, err := Open(at, ".", DirFlags, 0)
	for step := range strings.SplitSeq(name, "/") {
		if err != nil {
			break
		}
		if step == ".." {
			unix.Close(fd)
			return -1, unix.EXDEV
		}
		above := fd
		fd, err = Open(above, step, DirFlags, 0)
		unix.Close(above)
	}
	return fd, err
}

// Gone tells of what is not there any more, or is something else.
func Gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// Names lists an open directory from its beginning, in batches. After an error there is nothing more.
func Names(fd int) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		again, err := Open(fd, ".", DirFlags, 0)
		if err != nil {
			yield(nil, err)
			return
		}
		dir := os.NewFile(uintptr(again), ".")
		defer dir.Close()
		for {
			batch, err := dir.Readdirnames(1024)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}
}
