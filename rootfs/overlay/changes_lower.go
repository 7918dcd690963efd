package overlay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// merged is one directory as the lower layers show it: open, the topmost first. Empty: there is none.
type merged []int

func openMerged(layers []string) (m merged, err error) {
	for _, dir := range slices.Backward(layers) {
		fd, err := handle.Open(unix.AT_FDCWD, dir, handle.DirFlags, 0)
		if err != nil {
			return m, fmt.Errorf("open layer directory %q: %w", dir, err)
		}
		if m = append(m, fd); handle.IsOpaque(fd) {
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
		fd, err := handle.Open(at, component, handle.DirFlags, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if handle.Gone(err) || errors.Is(err, unix.EACCES) { // closed to this user, so also to the container
			break
		}
		if err != nil {
			return below, err
		}
		if below = append(below, fd); handle.IsOpaque(fd) {
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

// list returns the names in an open directory.
func list(fd int) (names []string, err error) {
	for batch, err := range handle.Names(fd) {
		if err != nil {
			return nil, err
		}
		if names = append(names, batch...); len(names) > maxChanges {
			return nil, ErrTooManyChanges
		}
	}
	return names, nil
}

func lstat(at int, base string) (st unix.Stat_t, err error) {
	return st, unix.Fstatat(at, base, &st, unix.AT_SYMLINK_NOFOLLOW)
}
