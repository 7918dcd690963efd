package tree

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"syscall"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// Root is the root directory of a container's files.
type Root struct {
	dir *os.File
	// single tells that owners other than root are recorded in attributes.
	single bool
}

// New takes over an open directory (O_PATH will do). With single, owners are those of package userns/emulate.
func New(dir *os.File, single bool) *Root { return &Root{dir: dir, single: single} }

// Close closes the directory.
func (r *Root) Close() { r.dir.Close() }

// handle opens whatever is at a path, without a right but to look at it. Unless follow, the path may end in a symlink.
func (r *Root) handle(unsafePath string, follow bool) (*os.File, error) {
	unsafePath = path.Clean("/" + unsafePath)
	if follow || unsafePath == "/" {
		return pathrs.OpenatInRoot(r.dir, unsafePath)
	}
	parent, err := pathrs.OpenatInRoot(r.dir, path.Dir(unsafePath))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return openAt(parent, path.Base(unsafePath), unix.O_PATH|unix.O_NOFOLLOW)
}

// openAt opens one name in a directory.
func openAt(dir *os.File, base string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), base, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: base, Err: err}
	}
	return os.NewFile(uintptr(fd), base), nil
}

// openDirectory opens the directory of a handle for reading.
func openDirectory(handle *os.File) (*os.File, error) {
	return openAt(handle, ".", unix.O_RDONLY|unix.O_DIRECTORY)
}

// reopen opens the regular file of a handle for reading. A lease that the container holds is not waited for.
func reopen(handle *os.File) (*os.File, error) {
	fd, err := unix.Open(self(handle), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EAGAIN) {
		return nil, fmt.Errorf("a program of the container holds a lease on it: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), handle.Name()), nil
}

// self names an open file.
func self(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// Errno returns the system's error number of a failure, EIO if it has none, and 0 for nil.
func Errno(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO
}
