package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
)

// folder is a directory from which files are copied: a context, or the root of a stage or an image.
type folder struct {
	name   string // for messages
	dir    string // where it is
	root   *os.File
	ignore *patternmatcher.PatternMatcher // nil if nothing is ignored
	layers bool                           // files have owners and attributes that matter; those of a context belong to 0
	single bool                           // owners are in an attribute
	known  *hashes                        // digests of contents
}

// openFolder opens a directory of the user's or of ours.
func openFolder(name, dir string) (*folder, error) {
	root, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("open %s: %w", name, err), Remedy: "name a directory or an archive"}
	}
	return &folder{name: name, dir: dir, root: root}, nil
}

func (f *folder) Close() { _ = f.root.Close() }

// found is a file that was looked up, followed to where it really is.
type found struct {
	handle *os.File // O_PATH
	path   string   // from the root, clean, without symlinks; "." for the root
	stat   unix.Stat_t
}

func (f *found) Close() { _ = f.handle.Close() }

func (f *found) isDir() bool { return kindOf(&f.stat) == unix.S_IFDIR }

// lookup finds what a path means, seen from the root: neither .. nor symlinks lead out of it.
//
// Errors: fs.ErrNotExist, also for what is ignored.
func (f *folder) lookup(unsafePath string) (*found, error) {
	handle, err := pathrs.OpenatInRoot(f.root, cleanIn(unsafePath))
	if err != nil {
		return nil, f.missing(unsafePath, err)
	}
	file := &found{handle: handle}
	err = unix.Fstat(int(handle.Fd()), &file.stat)
	if err == nil {
		file.path, err = below(f.root, handle)
	}
	if err == nil && f.hides(file.path) && !(file.isDir() && f.ignore.Exclusions()) {
		err = fs.ErrNotExist
	}
	if err != nil {
		file.Close()
		return nil, f.missing(unsafePath, err)
	}
	return file, nil
}

func (f *folder) missing(unsafePath string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		where := f.name
		if f.ignore != nil {
			where += ", or its ignore file leaves it out"
		}
		return &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("find %q: not in %s: %w", unsafePath, where, fs.ErrNotExist)}
	}
	return fmt.Errorf("find %q in %s: %w", unsafePath, f.name, err)
}

// below is where an open file is, from an open directory that it is in.
func below(dir, handle *os.File) (string, error) {
	from, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return "", err
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", handle.Fd()))
	if err != nil {
		return "", err
	}
	if at == from {
		return ".", nil
	}
	rest, ok := strings.CutPrefix(at, strings.TrimSuffix(from, "/")+"/")
	if !ok {
		return "", fmt.Errorf("%s was moved while it was read", from)
	}
	return rest, nil
}

// hides is true for what the ignore file leaves out.
func (f *folder) hides(name string) bool {
	if f.ignore == nil || name == "." {
		return false
	}
	hidden, err := f.ignore.MatchesOrParentMatches(name)
	return err == nil && hidden
}

// read returns the content of a regular file of at most limit bytes.
func (f *folder) read(unsafePath string, limit int64) ([]byte, error) {
	handle, err := pathrs.OpenatInRoot(f.root, cleanIn(unsafePath))
	if err != nil {
		return nil, (&folder{name: f.name}).missing(unsafePath, err)
	}
	defer handle.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(handle.Fd()), &st); err != nil {
		return nil, err
	}
	if kindOf(&st) != unix.S_IFREG {
		return nil, &rootfs.Error{Code: rootfs.BadConfig, Err: fmt.Errorf("read %q in %s: it is no regular file", unsafePath, f.name)}
	}
	if st.Size > limit {
		return nil, &rootfs.Error{Code: rootfs.TooLarge, Err: fmt.Errorf("read %q in %s: it has %d bytes, more than %d", unsafePath, f.name, st.Size, limit)}
	}
	file, err := pathrs.Reopen(handle, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("read %q in %s: %w", unsafePath, f.name, err)
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}

// list returns the names in a directory, sorted; none if it is no directory, or missing.
func (f *folder) list(dir string) ([]string, error) {
	file, err := f.lookup(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !file.isDir() {
		return nil, nil
	}
	opened, err := pathrs.Reopen(file.handle, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("list %s in %s: %w", dir, f.name, err)
	}
	defer opened.Close()
	return sortedNames(opened)
}

func (f *folder) exists(name string) bool {
	file, err := f.lookup(name)
	if err != nil {
		return false
	}
	file.Close()
	return true
}

// cleanIn is a path seen from a root that .. does not leave; the root is ".".
func cleanIn(unsafePath string) string {
	if name := strings.TrimPrefix(path.Clean("/"+unsafePath), "/"); name != "" {
		return name
	}
	return "."
}
