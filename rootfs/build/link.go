package build

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// parentDir is a directory that COPY --link finds on the way to its destination. The layer has it as the layers below do, so that it
// hides nothing.
type parentDir struct {
	Path  string
	Mode  uint32
	Owner handle.Owner
}

// parentsOf returns the directories that lead to a destination, as far as they are there, the root first. It is false if the
// destination is none that a layer of its own could have: if what is below has a symlink or a file in its path.
func parentsOf(lowers []string, dest string, single bool) (all []parentDir, ok bool, err error) {
	clean := path.Clean(dest)
	for end, c := range clean + "/" {
		if c != '/' || end == 0 && clean != "/" {
			continue
		}
		d, kind, err := lookBelow(lowers, clean[:max(end, 1)], single)
		switch {
		case err != nil:
			return nil, false, err
		case kind == 0:
			return all, true, nil
		case kind != unix.S_IFDIR:
			return nil, false, nil
		case d.Path == clean && !strings.HasSuffix(dest, "/"):
			return nil, false, nil // the file goes into it
		}
		all = append(all, d)
	}
	return all, true, nil
}

// lookBelow returns a directory as the topmost layer that has it describes it. Kind is that of the file there, 0 if there is none.
func lookBelow(lowers []string, name string, single bool) (d parentDir, kind uint32, err error) {
	for i := len(lowers) - 1; i >= 0; i-- {
		opened, st, err := lookIn(lowers[i], name)
		if opened == nil && err == nil {
			if st.Mode == 0 {
				continue
			}
			return d, whatIs(&st), nil
		}
		if err != nil {
			return d, 0, fmt.Errorf("look for %s: %w", name, err)
		}
		d = parentDir{name, st.Mode & 0o7777, ownerOf(opened, &st, single)}
		return d, unix.S_IFDIR, opened.Close()
	}
	return d, 0, nil
}

// whatIs is the kind of a file of a layer; a whiteout is none.
func whatIs(st *unix.Stat_t) uint32 {
	if kindOf(st) == unix.S_IFCHR && st.Rdev == 0 {
		return 0
	}
	return kindOf(st)
}

// lookIn opens a directory of a layer. For other kinds of files it returns what they are, for none a zero mode.
func lookIn(layer, name string) (opened *os.File, st unix.Stat_t, err error) {
	root, err := os.Open(layer)
	if err != nil {
		return nil, st, err
	}
	defer root.Close()
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	var fd int
	err = handle.Uninterrupted(func() (err error) {
		fd, err = unix.Openat2(int(root.Fd()), cleanIn(name), &how)
		return err
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, st, nil
	case err != nil:
		return nil, st, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil || kindOf(&st) != unix.S_IFDIR {
		return nil, st, err
	}
	dir, err := handle.Open(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, st, err
	}
	return os.NewFile(uintptr(dir), name), st, nil
}

// makeParents makes these directories in the empty layer of a COPY --link.
func (t *target) makeParents(parents []parentDir) error {
	for _, d := range parents {
		o := d.Owner
		like := target{root: t.root, single: t.single, owner: &o, octal: &d.Mode}
		dir, err := like.makeAll(d.Path)
		if err == nil {
			err = errors.Join(like.describe(dir, o, d.Mode), dir.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
