package tree

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Archive is a file or directory about to be written as a tar stream.
type Archive struct {
	root *Root
	path string
	top  *os.File // a handle
}

// Archive finds what is to be archived. A path that ends in a symlink means the link.
//
// Errors: CodeNotFound, CodeInvalid.
func (r *Root) Archive(unsafePath string) (*Archive, error) {
	unsafePath = path.Clean("/" + unsafePath)
	top, err := r.handle(unsafePath, false)
	if err != nil {
		return nil, failure("copy from", unsafePath, err)
	}
	return &Archive{r, unsafePath, top}, nil
}

// Close closes what was found.
func (a *Archive) Close() { a.top.Close() }

// WriteTo writes the stream. Its first entry is the file's own name ("." for the root), the others are below that.
// Symlinks are kept, hard links among the archived files too. Sockets are left out, as is what the kernel makes up
// (/proc, /sys and the like) but for its mount points, and what vanishes while it is read.
//
// Errors: CodeUnsupported for a path in what the kernel makes up; CodeInvalid if a file shrinks while it is read; those
// of w; the context's.
func (a *Archive) WriteTo(ctx context.Context, w io.Writer) error {
	o := &output{root: a.root, ctx: ctx, top: a.top, tar: tar.NewWriter(w), links: map[inode]string{}, buf: make([]byte, copySize)}
	if err := o.whole(nameOf(a.path)); err != nil {
		return failure("copy from", a.path, err)
	}
	return o.tar.Close()
}

// output is the state of one WriteTo call.
type output struct {
	root  *Root
	ctx   context.Context
	top   *os.File
	tar   *tar.Writer
	links map[inode]string // first names of files with several
	todo  []directory
	buf   []byte
}

// inode identifies a file.
type inode struct{ dev, ino uint64 }

// directory is one whose entry is written, and whose content is not.
type directory struct {
	below string // from the top
	inode inode
}

func (o *output) whole(name string) error {
	made, err := isMadeUp(o.top)
	if err != nil {
		return err
	}
	if made {
		return sandbox.Errorf(sandbox.CodeUnsupported, "copy from %q: the kernel makes it up, and does not say how much it is", name).
			WithRemedy("open and read it")
	}
	if err := o.file(o.top, ".", name); err != nil {
		return err
	}
	for len(o.todo) > 0 {
		d := o.todo[len(o.todo)-1]
		o.todo = o.todo[:len(o.todo)-1]
		if err := o.content(d, name); err != nil {
			return fmt.Errorf("%s: %w", d.below, err)
		}
	}
	return nil
}

// content writes what is in a directory.
func (o *output) content(d directory, name string) error {
	handle, err := pathrs.OpenatInRoot(o.top, d.below)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer handle.Close()
	st, err := fstat(handle)
	if err != nil || (inode{st.Dev, st.Ino}) != d.inode {
		return err // swapped meanwhile
	}
	dir, err := openDirectory(handle)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := list(dir)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := o.in(dir, base, path.Join(d.below, base), path.Join(name, d.below, base)); err != nil {
			return err
		}
	}
	return nil
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

func (o *output) in(dir *os.File, base, below, name string) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	f, err := openAt(dir, base, unix.O_PATH|unix.O_NOFOLLOW)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := o.file(f, below, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// file writes one file; of a directory the entry.
func (o *output) file(f *os.File, below, name string) error {
	st, err := fstat(f)
	if err != nil || kind(&st) == unix.S_IFSOCK {
		return err
	}
	h, err := o.header(f, name, &st)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return o.regular(f, h)
	case tar.TypeDir:
		made, err := isMadeUp(f)
		if err != nil {
			return err
		}
		if !made {
			o.todo = append(o.todo, directory{below, inode{st.Dev, st.Ino}})
		}
	}
	return o.tar.WriteHeader(h)
}

// types are the kinds of files that archives know.
var types = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg, unix.S_IFDIR: tar.TypeDir, unix.S_IFLNK: tar.TypeSymlink, unix.S_IFIFO: tar.TypeFifo,
	unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock,
}

func (o *output) header(f *os.File, name string, st *unix.Stat_t) (*tar.Header, error) {
	uid, gid := o.root.owner(here(f), st)
	h := &tar.Header{
		Typeflag: types[kind(st)], Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(uid), Gid: int(gid),
		ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec), Format: tar.FormatPAX, // for fractions of seconds
	}
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name = strings.TrimSuffix(name, "/") + "/"
	case tar.TypeSymlink:
		target, err := readLink(f)
		h.Linkname = target
		return h, err
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
		return h, nil
	case tar.TypeReg:
		if first := o.first(st, name); first != "" {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return h, nil
		}
		h.Size = st.Size
	}
	return h, o.attributes(f, st, h)
}

// first returns the name that a hard link leads to, "" for the first of them.
func (o *output) first(st *unix.Stat_t, name string) string {
	if st.Nlink < 2 {
		return ""
	}
	i := inode{st.Dev, st.Ino}
	if first, ok := o.links[i]; ok {
		return first
	}
	o.links[i] = name
	return ""
}

func (o *output) attributes(f *os.File, st *unix.Stat_t, h *tar.Header) error {
	if !carriesAttributes(st) {
		return nil
	}
	attrs, err := here(f).attributes()
	for attr, value := range attrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxAttribute+attr] = value
	}
	return err
}

// regular writes a file's entry and as much content as the entry says.
func (o *output) regular(handle *os.File, h *tar.Header) error {
	f, err := reopen(handle)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := o.tar.WriteHeader(h); err != nil {
		return err
	}
	for left := h.Size; left > 0; {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(o.buf[:min(left, int64(len(o.buf)))])
		if err == io.EOF {
			return sandbox.Errorf(sandbox.CodeInvalid, "copy from %q: the file shrank while it was read", h.Name).
				WithRemedy("pause or stop the container while you copy")
		}
		if err != nil {
			return err
		}
		if _, err := o.tar.Write(o.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// madeUp are the file systems whose files the kernel makes up while they are read.
var madeUp = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true,
	unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true, unix.BPF_FS_MAGIC: true,
	unix.BINFMTFS_MAGIC: true, unix.EFIVARFS_MAGIC: true,
}

func isMadeUp(f *os.File) (bool, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(f.Fd()), &st)
	return madeUp[int64(st.Type)], err
}
