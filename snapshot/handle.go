package snapshot

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openDirFlags open a directory that is not a symlink.
const openDirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// maxPath is how long a path below a tree's root may be: four times what a program can name at once.
const maxPath = 4 * unix.PathMax

// uninterrupted repeats a system call that a signal ended; file systems in user space let that happen.
func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openat(at int, name string, flags int, mode uint32) (fd int, err error) {
	err = uninterrupted(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// handleAt opens one name in a directory, without a right but to look at it.
func handleAt(at int, name string) (int, error) {
	return openat(at, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// reopen opens the regular file of a handle for reading. A lease that a program holds on it is not waited for: EAGAIN.
func reopen(handle int) (int, error) {
	return openat(unix.AT_FDCWD, self(handle), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// self names an open file.
func self(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// directoryAt opens the directory that a clean path leads to, "." for root itself, through no symlink and no mount point.
func directoryAt(root int, name string) (fd int, err error) {
	if len(name) > maxPath {
		return -1, unix.ENAMETOOLONG
	}
	if name == "." {
		return openBelow(root, name)
	}
	fd = root
	for part := range parts(name) {
		below, err := openBelow(fd, part)
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

// parts cuts a path into some that the kernel takes.
func parts(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name != "" {
			part := name
			if len(part) >= unix.PathMax {
				part = part[:strings.LastIndexByte(part[:unix.PathMax], '/')]
			}
			name = strings.TrimPrefix(name[len(part):], "/")
			if !yield(part) {
				return
			}
		}
	}
}

// openBelow opens a directory by a path that the kernel takes at once; where openat2(2) is forbidden, step by step.
func openBelow(at int, name string) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   openDirFlags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	err = uninterrupted(func() error {
		fd, err = unix.Openat2(at, name, &how)
		return err
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openSteps(at, name)
	}
	return fd, err
}

func openSteps(at int, name string) (int, error) {
	fd, err := openat(at, ".", openDirFlags, 0)
	for step := range strings.SplitSeq(name, "/") {
		if err != nil || step == "." {
			break
		}
		if step == ".." {
			unix.Close(fd)
			return -1, unix.EXDEV
		}
		above := fd
		fd, err = openat(above, step, openDirFlags, 0)
		unix.Close(above)
	}
	return fd, err
}

// openDirectory opens a directory of ours as the root of a tree.
func openDirectory(dir string) (*os.File, error) {
	fd, err := openat(unix.AT_FDCWD, dir, openDirFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// status is what the kernel says of a handle, or of one name in a directory without following it.
type status struct{ unix.Statx_t }

func statusOf(fd int) (st status, err error) {
	return st, unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st.Statx_t)
}

func statusAt(at int, name string) (st status, err error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	return st, unix.Statx(at, name, flags, unix.STATX_BASIC_STATS, &st.Statx_t)
}

func (st *status) kind() uint32 { return uint32(st.Mode) & unix.S_IFMT }

func (st *status) isDir() bool { return st.kind() == unix.S_IFDIR }

// isWhiteout tells whether it is a character device 0/0.
func (st *status) isWhiteout() bool {
	return st.kind() == unix.S_IFCHR && st.Rdev_major == 0 && st.Rdev_minor == 0
}

// isMountPoint tells whether something is mounted on it (Linux 5.8).
func (st *status) isMountPoint() bool { return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 }

// inode identifies a file.
type inode struct {
	major, minor uint32
	number       uint64
}

func (st *status) inode() inode { return inode{st.Dev_major, st.Dev_minor, st.Ino} }

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// split is the directory of a clean relative path, and the name in it.
func split(name string) (dir, base string) { return path.Dir(name), path.Base(name) }
