package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// CopyOptions say how a tree is copied.
type CopyOptions struct {
	// Layer says that the tree is the upper directory of an overlay mount, or a lower one, and becomes a lower one: of
	// overlayfs's own attributes only those go with it that a lower directory needs.
	Layer bool
	// Merge lets what is in the destination stay, but for files that are replaced and directories that get the owner, mode
	// and times of those in the source. Mount points in it are left alone. Otherwise the destination is to be empty.
	Merge bool
}

// Stats counts what was copied.
type Stats struct {
	Files int   // of any kind, directories included
	Bytes int64 // of content, holes included
}

// CopyTree copies what is in the directory src, and that directory's own owner, mode, times and attributes, to the
// directory dst, which is there. O_PATH descriptors will do.
//
// Whiteouts, hard links, holes, fifos and sockets stay what they are, and so do the attributes user.*, capabilities and
// ACLs. What is mounted below src is left out. Nothing but regular files and directories is ever opened. The tree may be
// hostile, and change meanwhile: then what is copied is of no use, but nothing outside of dst is written to.
//
// What was made before an error stays.
//
// Errors: NoSpace; NoXattr; UnmappedID; Unsupported for a device node; the context's; the errno of a failed system call
// with the name of the file.
func CopyTree(ctx context.Context, dst, src *os.File, o CopyOptions) (Stats, error) {
	c := &copier{ctx: ctx, o: o, dst: int(dst.Fd()), links: map[inode]string{}}
	from, err := statusOf(int(src.Fd()))
	if err != nil {
		return Stats{}, coded(err, "copy %s", src.Name())
	}
	to, err := statusOf(c.dst)
	if err != nil {
		return Stats{}, coded(err, "copy to %s", dst.Name())
	}
	c.content.sameFS = from.Dev_major == to.Dev_major && from.Dev_minor == to.Dev_minor
	err = walk(ctx, int(src.Fd()), c.directory)
	return Stats{int(c.files.Load()), c.bytes.Load()}, coded(err, "copy %s to %s", src.Name(), dst.Name())
}

// copier is the state of one CopyTree call.
type copier struct {
	ctx     context.Context
	o       CopyOptions
	dst     int
	content content

	files, bytes atomic.Int64

	mutex sync.Mutex
	links map[inode]string // first names of files that have several
}

// directory copies what is in a directory, and makes those below it.
func (c *copier) directory(src int, name string) (below []string, err error) {
	dst, err := directoryAt(c.dst, name)
	if c.o.Merge && errors.Is(err, unix.EXDEV) {
		return nil, nil // a mount point
	}
	if err != nil {
		return nil, coded(err, "%q: open its copy", name)
	}
	defer unix.Close(dst)
	d := pair{src, dst, name}
	for batch, err := range handle.Names(src) {
		if err != nil {
			return nil, coded(err, "%q: list", name)
		}
		for _, base := range batch {
			isDir, err := c.entry(d, base)
			if err != nil {
				return nil, coded(err, "%q", join(name, base))
			}
			if isDir {
				below = append(below, base)
			}
		}
	}
	if err := c.describe(d); err != nil {
		return nil, coded(err, "%q", name)
	}
	return below, nil
}

// Describe gives the open file or directory dst the owner, mode, times and attributes of src.
//
// Errors: NoSpace; NoXattr; UnmappedID; the errno of a failed system call.
func Describe(dst, src *os.File) error {
	err := (&copier{}).describe(pair{int(src.Fd()), int(dst.Fd()), "."})
	return coded(err, "describe %s as %s is", dst.Name(), src.Name())
}

// pair is a directory and its copy.
type pair struct {
	src, dst int
	name     string
}

// describe completes the copy of a directory in which everything is made.
func (c *copier) describe(d pair) error {
	c.files.Add(1)
	st, err := statusOf(d.src)
	if err != nil {
		return err
	}
	n := nodeOf(&st)
	if n.attrs, err = attributesOf(d.src, c.o.Layer); err != nil {
		return err
	}
	return n.describe(d.dst)
}

// entry copies one file, and makes the copy of a directory.
func (c *copier) entry(d pair, base string) (isDir bool, err error) {
	if err := c.ctx.Err(); err != nil {
		return false, err
	}
	src, err := handleAt(d.src, base)
	if err != nil {
		return false, err
	}
	defer unix.Close(src)
	st, err := statusOf(src)
	switch {
	case err != nil:
		return false, err
	case st.isMountPoint():
		return false, nil
	case st.isDir():
		return true, c.mkdir(d, base)
	case st.Nlink > 1 && !st.isWhiteout(): // the kernel makes one whiteout and gives it all the names
		return false, c.linked(d, base, src, &st)
	}
	c.files.Add(1)
	return false, c.file(d, base, src, &st, nil)
}

func (c *copier) mkdir(d pair, base string) error {
	err := unix.Mkdirat(d.dst, base, 0o700)
	if !c.o.Merge || !errors.Is(err, unix.EEXIST) {
		return wrap("make directory", err)
	}
	st, err := statusAt(d.dst, base)
	if err != nil || st.isDir() {
		return err
	}
	if st.isMountPoint() {
		return fmt.Errorf("replace mount point: %w", unix.EBUSY)
	}
	if err := unix.Unlinkat(d.dst, base, 0); err != nil {
		return wrap("replace file", err)
	}
	return wrap("make directory", unix.Mkdirat(d.dst, base, 0o700))
}

// linked copies a file of several names under the first that is met, and links the others to it.
func (c *copier) linked(d pair, base string, src int, st *status) error {
	c.mutex.Lock()
	unlock := sync.OnceFunc(c.mutex.Unlock)
	defer unlock()
	c.files.Add(1)
	if first, ok := c.links[st.inode()]; ok {
		return c.link(d, base, first)
	}
	return c.file(d, base, src, st, func() {
		c.links[st.inode()] = join(d.name, base)
		unlock() // it can be linked to; its content may take a while
	})
}

func (c *copier) link(d pair, base, first string) error {
	above, name := split(first)
	fd, err := directoryAt(c.dst, above)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return place(d.dst, base, c.o.Merge, func() error { return wrap("make hard link", unix.Linkat(fd, name, d.dst, base, 0)) })
}

// file copies anything but a directory. Made is called as soon as the copy has its name.
func (c *copier) file(d pair, base string, src int, st *status, made func()) error {
	if made == nil {
		made = func() {}
	}
	n := nodeOf(st)
	if n.kind() == unix.S_IFREG {
		return c.regular(d, base, src, st, &n, made)
	}
	if n.kind() == unix.S_IFLNK {
		var err error
		if n.target, err = readLink(src); err != nil {
			return err
		}
	}
	if n.kind() == unix.S_IFCHR && !st.isWhiteout() {
		n.mode = unix.S_IFBLK // a device, which is refused
	}
	if err := place(d.dst, base, c.o.Merge, func() error { return n.makeAt(d.dst, base) }); err != nil {
		return err
	}
	made()
	return nil
}

// readLink reads the symlink of a handle.
func readLink(fd int) (string, error) {
	var target [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", target[:])
	if err != nil {
		return "", wrap("read symlink", err)
	}
	return string(target[:n]), nil
}

func (c *copier) regular(d pair, base string, opened int, st *status, n *node, made func()) error {
	src, err := reopen(opened)
	if err != nil {
		return wrap("open", err)
	}
	defer unix.Close(src)
	dst := -1
	err = place(d.dst, base, c.o.Merge, func() error {
		dst, err = handle.Open(d.dst, base, createFlags, 0o600)
		return wrap("create", err)
	})
	if err != nil {
		return err
	}
	made()
	return errors.Join(c.fill(dst, src, st, n), wrap("close", unix.Close(dst)))
}

func (c *copier) fill(dst, src int, st *status, n *node) (err error) {
	if n.attrs, err = attributesOf(src, c.o.Layer); err != nil {
		return err
	}
	size := int64(st.Size)
	if err := c.content.copy(c.ctx, dst, src, size, int64(st.Blocks)*512 < size); err != nil {
		return err
	}
	c.bytes.Add(size)
	return n.describe(dst)
}
