package overlay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// handleFlags open a directory that is not a symlink.
const handleFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// merged is one directory as the lower layers show it: open, the topmost first. Empty: there is none.
type merged []int

func openMerged(layers []string) (m merged, err error) {
	for _, dir := range slices.Backward(layers) {
		fd, err := unix.Open(dir, handleFlags, 0)
		if err != nil {
			return m, fmt.Errorf("open layer directory %q: %w", dir, err)
		}
		if m = append(m, fd); opacity(fd) == 'y' {
			break
		}
	}
	return m, nil
}

func (m merged) close() error {
	var errs []error
	for _, fd := range m {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// at opens a directory below. The receiver stays open.
func (m merged) at(name string) (merged, error) {
	at, err := m.down(".")
	for component := range strings.SplitSeq(name, "/") {
		if err != nil || len(at) == 0 {
			break
		}
		var below merged
		below, err = at.down(component)
		err = errors.Join(err, at.close())
		at = below
	}
	if err != nil {
		return nil, errors.Join(err, at.close())
	}
	return at, nil
}

// down opens a directory in m. Whatever else has the name hides the layers below, and so does an opaque directory.
func (m merged) down(component string) (below merged, err error) {
	for _, at := range m {
		fd, err := unix.Openat(at, component, handleFlags, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if gone(err) || errors.Is(err, unix.EACCES) { // closed to this user, so also to the container
			break
		}
		if err != nil {
			return below, err
		}
		if below = append(below, fd); opacity(fd) == 'y' {
			break
		}
	}
	return below, nil
}

// version is a file in one of the layers.
type version struct {
	at   int
	base string
	unix.Stat_t
}

// lookup finds what the layers show under a name; nil is nothing.
func (m merged) lookup(base string) (*version, error) {
	for _, at := range m {
		st, err := lstat(at, base)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue
		case errors.Is(err, unix.EACCES):
			return nil, nil
		case err != nil:
			return nil, err
		case isWhiteout(at, base, &st):
			return nil, nil
		}
		return &version{at, base, st}, nil
	}
	return nil, nil
}

// list returns the names that the layers show.
func (m merged) list() (names []string, err error) {
	seen := map[string]bool{}
	for _, at := range m {
		here, err := list(at)
		if err != nil {
			return nil, err
		}
		for _, base := range here {
			if seen[base] {
				continue
			}
			seen[base] = true
			if st, err := lstat(at, base); err == nil && !isWhiteout(at, base, &st) {
				names = append(names, base)
			}
		}
	}
	return names, nil
}

// openBelow opens a directory by a relative name, no component of which is a symlink.
func openBelow(root int, name string) (int, error) {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: handleFlags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENAMETOOLONG) {
		return stepBelow(root, name) // a profile that knows no openat2, or too much for one call
	}
	return fd, err
}

func stepBelow(root int, name string) (int, error) {
	fd, err := unix.Openat(root, ".", handleFlags, 0)
	for component := range strings.SplitSeq(name, "/") {
		if err != nil {
			break
		}
		at := fd
		fd, err = unix.Openat(at, component, handleFlags, 0)
		unix.Close(at)
	}
	return fd, err
}

// list returns the names in an open directory.
func list(fd int) ([]string, error) {
	again, err := unix.Openat(fd, ".", handleFlags, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "directory")
	defer f.Close()
	names, err := f.Readdirnames(maxChanges + 1)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if len(names) > maxChanges {
		return nil, ErrTooManyChanges
	}
	return names, err
}

func lstat(at int, base string) (st unix.Stat_t, err error) {
	return st, unix.Fstatat(at, base, &st, unix.AT_SYMLINK_NOFOLLOW)
}

// gone tells of a directory that is not there, or is no directory.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
