package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	mode "github.com/tonistiigi/dchapes-mode"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// target is the root of a container into which files are copied.
type target struct {
	root   *os.File
	single bool
	owner  *handle.Owner // of all that is copied or made; nil leaves files of layers theirs
	chmod  *mode.Set     // nil leaves permissions as they are
	octal  *uint32       // permissions also of directories made on the way
}

// newDirMode is that of directories which exist in no source.
const newDirMode = 0o755

func (t *target) dirMode() uint32 {
	if t.octal != nil {
		return *t.octal
	}
	return newDirMode
}

func (t *target) newOwner() handle.Owner {
	if t.owner != nil {
		return *t.owner
	}
	return handle.Owner{}
}

// permissions are those that a file gets.
func (t *target) permissions(m uint32) uint32 {
	switch {
	case t.octal != nil:
		return *t.octal
	case t.chmod == nil:
		return m & 0o7777
	}
	return unixMode(t.chmod.Apply(goMode(m)))
}

// goMode and unixMode translate between the kernel's bits and Go's.
func goMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	for bit, flag := range specialBits() {
		if m&bit != 0 {
			mode |= flag
		}
	}
	if m&unix.S_IFMT == unix.S_IFDIR {
		mode |= fs.ModeDir
	}
	return mode
}

func unixMode(mode fs.FileMode) uint32 {
	m := uint32(mode.Perm())
	for bit, flag := range specialBits() {
		if mode&flag != 0 {
			m |= bit
		}
	}
	return m
}

func specialBits() map[uint32]fs.FileMode {
	return map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky}
}

// lookup opens what a path means in the root, as a place only.
func (t *target) lookup(unsafePath string) (handle *os.File, st unix.Stat_t, err error) {
	if handle, err = pathrs.OpenatInRoot(t.root, cleanIn(unsafePath)); err != nil {
		return nil, st, err
	}
	if err := unix.Fstat(int(handle.Fd()), &st); err != nil {
		return nil, st, errors.Join(err, handle.Close())
	}
	return handle, st, nil
}

// makeAll returns the directory of a path, made with those above it as far as they are missing, also where a symlink leads to one
// that is missing.
func (t *target) makeAll(unsafePath string) (*os.File, error) { return t.makePath(unsafePath, 0) }

func (t *target) makePath(unsafePath string, links int) (*os.File, error) {
	name := path.Clean("/" + unsafePath)
	handle, st, err := t.lookup(name)
	if err == nil {
		defer handle.Close()
		if kindOf(&st) != unix.S_IFDIR {
			return nil, fmt.Errorf("make directory %s: there is a file of that name", name)
		}
		return pathrs.Reopen(handle, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	}
	if errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("make directory %s: a part of the path is a file", name)
	}
	if !errors.Is(err, fs.ErrNotExist) || links > maxLinks {
		return nil, fmt.Errorf("make directory %s: %w", name, err)
	}
	parent, err := t.makePath(path.Dir(name), links)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	next, err := t.linkAt(parent, path.Base(name))
	if err != nil {
		return nil, err
	}
	if next != "" {
		return t.makePath(next, links+1)
	}
	return t.makeDir(parent, path.Base(name))
}

// linkAt is where a symlink leads, from the root; for other files, and none, it is empty.
func (t *target) linkAt(parent *os.File, name string) (string, error) {
	st, err := lstat(int(parent.Fd()), name)
	if err != nil || kindOf(&st) != unix.S_IFLNK {
		return "", nil
	}
	link, err := (&file{dir: int(parent.Fd()), name: name}).readlink()
	if err != nil || path.IsAbs(link) {
		return path.Clean(link), err
	}
	dir, err := below(t.root, parent)
	return path.Join("/", dir, link), err
}

// makeDir makes one directory that no source describes.
func (t *target) makeDir(parent *os.File, name string) (*os.File, error) {
	if err := unix.Mkdirat(int(parent.Fd()), name, 0o700); err != nil {
		return nil, fmt.Errorf("make directory %s: %w", name, err)
	}
	dir, err := openDir(parent, name)
	if err != nil {
		return nil, err
	}
	if err := t.describe(dir, t.newOwner(), t.dirMode()); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// describe gives an open file owner and permissions: in this order, since a new owner takes setuid bits away.
func (t *target) describe(opened *os.File, o handle.Owner, permissions uint32) error {
	if err := own(opened, o, t.single); err != nil {
		return chownError(opened.Name(), o, err)
	}
	if err := unix.Fchmod(int(opened.Fd()), permissions); err != nil {
		return fmt.Errorf("set mode of %s: %w", opened.Name(), err)
	}
	return nil
}

// chownError explains EINVAL, the kernel's word for an id without a mapping.
func chownError(name string, o handle.Owner, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("give %s to %d:%d: your subordinate ids (/etc/subuid, /etc/subgid) do not reach that far", name, o.UID, o.GID)
	}
	return fmt.Errorf("give %s to %d:%d: %w", name, o.UID, o.GID, err)
}

func openDir(parent *os.File, name string) (*os.File, error) {
	fd, err := handle.Open(int(parent.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// place is where one source goes: below an open directory, under a name; or, without a name, the directory itself.
type place struct {
	dir  *os.File
	name string
}

// maxLinks is how many symlinks the kernel follows.
const maxLinks = 40

// placeOf finds out where a source goes, and makes what is missing on the way. dest is absolute, with / at its end if it is
// to be a directory. isDir is the source's, base its own name.
func (t *target) placeOf(dest, base string, isDir bool) (place, error) {
	if isDir || strings.HasSuffix(dest, "/") {
		dir, err := t.makeAll(dest)
		if err != nil || isDir {
			return place{dir: dir}, err
		}
		return place{dir, base}, nil
	}
	for range maxLinks {
		at, next, err := t.follow(dest, base)
		if err != nil || next == "" {
			return at, err
		}
		dest = next
	}
	return place{}, fmt.Errorf("follow %s: %w", dest, unix.ELOOP)
}

// follow is placeOf for a file; next is where a symlink leads instead.
func (t *target) follow(dest, base string) (at place, next string, err error) {
	parent, err := t.makeAll(path.Dir(dest))
	if err != nil {
		return at, "", err
	}
	name := path.Base(dest)
	if st, err := lstat(int(parent.Fd()), name); err == nil && kindOf(&st) == unix.S_IFDIR {
		_ = parent.Close()
		dir, err := t.makeAll(dest)
		return place{dir, base}, "", err
	}
	if next, err = t.linkAt(parent, name); next == "" && err == nil {
		return place{parent, name}, "", nil
	}
	return at, next, errors.Join(err, parent.Close())
}

// create makes an empty file in place of any other that is no directory.
func create(dir *os.File, name string) (*os.File, error) {
	if err := clearAt(dir, name); err != nil {
		return nil, err
	}
	fd, err := handle.Open(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make file %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// clearAt removes a file that is in the way. Directories are not replaced.
func clearAt(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EISDIR):
		return fmt.Errorf("cannot replace directory %s with a file", name)
	}
	return fmt.Errorf("replace %s: %w", name, err)
}

// ownLink gives a symlink its owner. With a single id it cannot have another than 0.
func (t *target) ownLink(dir *os.File, name string, o handle.Owner) error {
	if t.single {
		return nil
	}
	if err := unix.Fchownat(int(dir.Fd()), name, int(o.UID), int(o.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return chownError(name, o, err)
	}
	return nil
}
