package tree

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// Stat describes a file. Unless follow, a symlink is described itself.
//
// Errors: those of stat(2).
func (r *Root) Stat(unsafePath string, follow bool) (sandbox.FileStat, error) {
	f, err := r.handle(unsafePath, follow)
	if err != nil {
		return sandbox.FileStat{}, err
	}
	defer f.Close()
	st, err := fstat(f)
	if err != nil {
		return sandbox.FileStat{}, err
	}
	return r.describe(here(f), nameOf(unsafePath), &st), nil
}

// Open opens a file, after symlinks. Only a regular file is returned open; of others there is the description alone.
//
// Errors: those of open(2).
func (r *Root) Open(unsafePath string) (*os.File, sandbox.FileStat, error) {
	f, err := r.handle(unsafePath, true)
	if err != nil {
		return nil, sandbox.FileStat{}, err
	}
	defer f.Close()
	st, err := fstat(f)
	if err != nil {
		return nil, sandbox.FileStat{}, err
	}
	stat := r.describe(here(f), nameOf(unsafePath), &st)
	if kind(&st) != unix.S_IFREG {
		return nil, stat, nil
	}
	open, err := reopen(f)
	return open, stat, err
}

// ReadLink returns where a symlink leads.
//
// Errors: those of readlink(2).
func (r *Root) ReadLink(unsafePath string) (string, error) {
	f, err := r.handle(unsafePath, false)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readLink(f)
}

func readLink(f *os.File) (string, error) {
	var target [unix.PathMax]byte
	n, err := unix.Readlinkat(int(f.Fd()), "", target[:])
	if err == unix.ENOENT { // the kernel's word for an open file that is no symlink
		err = unix.EINVAL
	}
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return string(target[:n]), nil
}

// maxEntries bounds a listing.
const maxEntries = 1 << 20

// ReadDir describes what is in a directory, sorted by name.
//
// Errors: those of readdir(3), EOVERFLOW for more than 1,048,576 entries.
func (r *Root) ReadDir(unsafePath string) ([]sandbox.FileStat, error) {
	handle, err := r.handle(unsafePath, true)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	dir, err := openDirectory(handle)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]sandbox.FileStat, 0, len(names))
	for _, name := range names {
		st, err := lstatAt(dir, name)
		if err != nil {
			continue // it is gone
		}
		entries = append(entries, r.describe(in(dir, name), name, &st))
	}
	return entries, nil
}

// list returns the names in an open directory, sorted.
func list(dir *os.File) ([]string, error) {
	names, err := dir.Readdirnames(maxEntries + 1)
	if err == io.EOF {
		return nil, nil
	}
	if err == nil && len(names) > maxEntries {
		err = &os.PathError{Op: "readdir", Path: dir.Name(), Err: unix.EOVERFLOW}
	}
	slices.Sort(names)
	return names, err
}

func fstat(f *os.File) (st unix.Stat_t, err error) {
	return st, unix.Fstat(int(f.Fd()), &st)
}

func lstatAt(dir *os.File, base string) (st unix.Stat_t, err error) {
	return st, unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
}

func kind(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

// nameOf is a file's own name; the root's is ".".
func nameOf(unsafePath string) string {
	if name := path.Base(path.Clean("/" + unsafePath)); name != "/" {
		return name
	}
	return "."
}

// describe translates what the kernel says.
func (r *Root) describe(at location, name string, st *unix.Stat_t) sandbox.FileStat {
	uid, gid := r.owner(at, st)
	return sandbox.FileStat{
		Name: []byte(name), Mode: fileMode(st.Mode), Size: st.Size, ModSeconds: st.Mtim.Sec, ModNanoseconds: st.Mtim.Nsec,
		FileSys: sandbox.FileSys{UID: uid, GID: gid, Links: uint64(st.Nlink), Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)},
	}
}

// owner is who a file belongs to as the container sees it.
func (r *Root) owner(at location, st *unix.Stat_t) (uid, gid uint32) {
	if !r.single || !carriesAttributes(st) {
		return st.Uid, st.Gid
	}
	value, err := at.attribute(emulate.XattrName)
	if err != nil {
		return st.Uid, st.Gid
	}
	o, err := emulate.UnmarshalOwner([]byte(value))
	if err != nil {
		return st.Uid, st.Gid
	}
	return known(o.UID, st.Uid), known(o.GID, st.Gid)
}

func known(id, otherwise uint32) uint32 {
	if id == emulate.NoopID {
		return otherwise
	}
	return id
}

// typeBits translates the kinds of files.
var typeBits = map[uint32]fs.FileMode{
	unix.S_IFREG: 0, unix.S_IFDIR: fs.ModeDir, unix.S_IFLNK: fs.ModeSymlink, unix.S_IFIFO: fs.ModeNamedPipe,
	unix.S_IFSOCK: fs.ModeSocket, unix.S_IFBLK: fs.ModeDevice, unix.S_IFCHR: fs.ModeDevice | fs.ModeCharDevice,
}

func fileMode(mode uint32) fs.FileMode {
	m, ok := typeBits[mode&unix.S_IFMT]
	if !ok {
		m = fs.ModeIrregular
	}
	m |= fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}
