package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// file is a file that a walk has come to.
type file struct {
	dir  int    // open directory that it is in
	name string // there
	path string // from the top of the walk; "" is the top itself
	stat unix.Stat_t
}

func (f *file) kind() uint32 { return kindOf(&f.stat) }

// open opens a regular file or a directory, and nothing else whatever is there meanwhile.
func (f *file) open() (*os.File, error) {
	flags := unix.O_RDONLY | unix.O_NONBLOCK
	if f.kind() == unix.S_IFDIR {
		flags |= unix.O_DIRECTORY
	}
	fd, err := handle.Open(f.dir, f.name, flags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.label(), err)
	}
	opened := os.NewFile(uintptr(fd), f.label())
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && kindOf(&st) != f.kind() {
		err = fmt.Errorf("open %s: it became another kind of file", f.label())
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	f.stat = st
	return opened, nil
}

func (f *file) label() string {
	if f.path == "" {
		return f.name
	}
	return f.path
}

// readlink is the target of a symlink.
func (f *file) readlink() (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(f.dir, f.name, buf)
		if err != nil {
			return "", fmt.Errorf("read link %s: %w", f.label(), err)
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// visitor is told what a walk selects. A directory comes before what is in it, and its leave after.
type visitor interface {
	directory(f *file) error
	leave(f *file) error
	regular(f *file) error
	symlink(f *file) error
}

// walk goes over a tree in the order of names.
type walk struct {
	ctx     context.Context
	visitor visitor
	folder  *folder
	from    string                         // where the top is in the folder, for its ignore file
	include *patternmatcher.PatternMatcher // nil for all
	exclude *patternmatcher.PatternMatcher // nil for none
}

// level is a directory on the way down. It is told of when the first file below it is selected, or at once if it is itself.
type level struct {
	file                    *file
	parent                  *level
	told                    bool
	ignored, taken, dropped patternmatcher.MatchInfo
}

// maxDepth bounds the directories in each other: each is an open file or two.
const maxDepth = 400

// top walks a file or a directory that was looked up, which itself is selected whatever the patterns.
func (w *walk) top(f *found) error {
	parent, name, err := openParent(w.folder, f)
	if err != nil {
		return err
	}
	defer parent.Close()
	above, err := w.above()
	if err != nil {
		return err
	}
	return w.one(&file{dir: int(parent.Fd()), name: name, stat: f.stat}, above, 0)
}

// above stands for the directories over the top: what the ignore file says of them counts for what is below.
func (w *walk) above() (*level, error) {
	l := &level{told: true}
	dir := path.Dir(w.from)
	for end, c := range dir + "/" {
		if c != '/' || dir == "." {
			continue
		}
		if _, err := match(w.folder.ignore, dir[:end], l.ignored, &l.ignored); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// openParent opens the directory that a file is in. That of the root is the root, in which it is called ".".
func openParent(folder *folder, f *found) (*os.File, string, error) {
	parent, name := path.Split(f.path)
	handle, err := pathrs.OpenatInRoot(folder.root, cleanIn(parent))
	if err != nil {
		return nil, "", fmt.Errorf("open %s in %s: %w", parent, folder.name, err)
	}
	defer handle.Close()
	dir, err := pathrs.Reopen(handle, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	return dir, name, err
}

// one decides about one file.
func (w *walk) one(f *file, parent *level, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	here := &level{file: f, parent: parent}
	chosen, err := w.chooses(here)
	if err != nil {
		return err
	}
	if f.kind() == unix.S_IFDIR {
		return w.descend(here, chosen, depth)
	}
	if !chosen {
		return nil
	}
	if err := w.tell(parent); err != nil {
		return err
	}
	switch f.kind() {
	case unix.S_IFREG:
		return w.visitor.regular(f)
	case unix.S_IFLNK:
		return w.visitor.symlink(f)
	}
	return fmt.Errorf("copy %q of %s: it is a device, a FIFO or a socket; leave it out with an ignore file or --exclude",
		path.Join(w.from, f.path), w.folder.name)
}

// chooses is true for what the patterns select.
func (w *walk) chooses(l *level) (bool, error) {
	parent := l.parent
	ignored, err := match(w.folder.ignore, path.Join(w.from, l.file.path), parent.ignored, &l.ignored)
	if err != nil || l.file.path == "" {
		return true, err
	}
	dropped, err := match(w.exclude, l.file.path, parent.dropped, &l.dropped)
	if err != nil {
		return false, err
	}
	taken := true
	if w.include != nil {
		if taken, err = match(w.include, l.file.path, parent.taken, &l.taken); err != nil {
			return false, err
		}
	}
	return taken && !ignored && !dropped, nil
}

func match(m *patternmatcher.PatternMatcher, name string, parent patternmatcher.MatchInfo, info *patternmatcher.MatchInfo) (bool, error) {
	if m == nil || name == "." {
		return false, nil
	}
	matched, found, err := m.MatchesUsingParentResults(name, parent)
	*info = found
	return matched, err
}

// descend goes into a directory.
func (w *walk) descend(l *level, chosen bool, depth int) error {
	if chosen {
		if err := w.tell(l); err != nil {
			return err
		}
	} else if w.include == nil && !w.hasExceptions() {
		return nil // nothing below can be selected either
	}
	if depth == maxDepth {
		return fmt.Errorf("read %s: more than %d directories in each other", path.Join(w.from, l.file.path), maxDepth)
	}
	dir, err := l.file.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := sortedNames(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.child(l, dir, name, depth); err != nil {
			return err
		}
	}
	if l.told {
		return w.visitor.leave(l.file)
	}
	return nil
}

func sortedNames(dir *os.File) ([]string, error) {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir.Name(), err)
	}
	slices.Sort(names)
	return names, nil
}

func (w *walk) hasExceptions() bool {
	return w.folder.ignore != nil && w.folder.ignore.Exclusions() || w.exclude != nil && w.exclude.Exclusions()
}

func (w *walk) child(l *level, dir *os.File, name string, depth int) (err error) {
	f := &file{dir: int(dir.Fd()), name: name, path: path.Join(l.file.path, name)}
	if f.stat, err = lstat(f.dir, name); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return nil
		}
		return fmt.Errorf("stat %s: %w", f.path, err)
	}
	return w.one(f, l, depth+1)
}

// tell tells the visitor of a directory and those above it, once.
func (w *walk) tell(l *level) error {
	if l.told {
		return nil
	}
	if err := w.tell(l.parent); err != nil {
		return err
	}
	l.told = true
	return w.visitor.directory(l.file)
}
