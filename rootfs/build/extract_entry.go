package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"time"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

func (e *extraction) at(parent *os.File, base string, h *tar.Header, content io.Reader) (err error) {
	switch h.Typeflag {
	case tar.TypeSymlink:
		return e.symlink(parent, base, h)
	case tar.TypeLink:
		return e.link(parent, base, h.Linkname)
	}
	made, err := create(parent, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	if err := fill(made, content, h.Size); err != nil {
		return err
	}
	return e.finish(made, h)
}

// hole is the size of the blocks of zeros that are not written, in bytes.
const hole = 64 << 10

// fill writes a file's content and leaves zeros out: an archive need not hold them to have terabytes of them.
func fill(made *os.File, content io.Reader, size int64) error {
	if err := made.Truncate(size); err != nil {
		return err
	}
	buf, zeros := make([]byte, min(hole, size)), make([]byte, min(hole, size))
	for at := int64(0); at < size; {
		part := buf[:min(hole, size-at)]
		if _, err := io.ReadFull(content, part); err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if !bytes.Equal(part, zeros[:len(part)]) {
			if _, err := made.WriteAt(part, at); err != nil {
				return err
			}
		}
		at += int64(len(part))
	}
	return nil
}

// finish gives a file of an archive what the archive says of it.
func (e *extraction) finish(made *os.File, h *tar.Header) error {
	o, err := e.owner(h)
	if err != nil {
		return err
	}
	m := uint32(h.Mode & 0o7777)
	if h.Typeflag == tar.TypeDir {
		m |= unix.S_IFDIR
	}
	if err := e.target.describe(made, o, e.target.permissions(m)); err != nil {
		return err
	}
	attrs := map[string]string{}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && unpack.Welcome(name) {
			attrs[name] = value
		}
	}
	if err := setAttributes(made, attrs); err != nil {
		return err
	}
	ts := timespec(h.ModTime)
	return unix.UtimesNanoAt(int(made.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
}

// timespec is 1970 for times that the machine cannot express.
func timespec(at time.Time) unix.Timespec {
	ts, err := unix.TimeToTimespec(at)
	if err != nil {
		return unix.Timespec{}
	}
	return ts
}

// owner is the one that an entry gets.
func (e *extraction) owner(h *tar.Header) (handle.Owner, error) {
	if e.target.owner != nil {
		return *e.target.owner, nil
	}
	if h.Uid < 0 || h.Gid < 0 || h.Uid >= math.MaxUint32 || h.Gid >= math.MaxUint32 {
		return handle.Owner{}, fmt.Errorf("its owner %d:%d cannot be", h.Uid, h.Gid)
	}
	return handle.Owner{UID: uint32(h.Uid), GID: uint32(h.Gid)}, nil
}

// directory makes a directory, or describes one that is there. The root itself is not the archive's.
func (e *extraction) directory(name string, h *tar.Header) (err error) {
	dir, err := e.target.makeAll(name)
	if err != nil {
		return badEntry(h, err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if name == "." {
		return nil
	}
	return e.finish(dir, h)
}

func (e *extraction) symlink(parent *os.File, base string, h *tar.Header) error {
	o, err := e.owner(h)
	if err != nil {
		return err
	}
	if err := clearAt(parent, base); err != nil {
		return err
	}
	if err := unix.Symlinkat(h.Linkname, int(parent.Fd()), base); err != nil {
		return err
	}
	if err := e.target.ownLink(parent, base, o); err != nil {
		return err
	}
	ts := timespec(h.ModTime)
	return unix.UtimesNanoAt(int(parent.Fd()), base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// link links to a file by its name in the archive; a symlink is linked itself.
func (e *extraction) link(parent *os.File, base, unsafeTarget string) error {
	name := cleanIn(unsafeTarget)
	from, err := pathrs.OpenatInRoot(e.target.root, path.Dir(name))
	if err != nil {
		return fmt.Errorf("link to %q: %w", unsafeTarget, err)
	}
	defer from.Close()
	st, err := lstat(int(from.Fd()), path.Base(name))
	if err != nil {
		return fmt.Errorf("link to %q: %w", unsafeTarget, err)
	}
	if kindOf(&st) != unix.S_IFREG && kindOf(&st) != unix.S_IFLNK {
		return fmt.Errorf("link to %q: it is no file", unsafeTarget)
	}
	if at, err := lstat(int(parent.Fd()), base); err == nil && at.Ino == st.Ino && at.Dev == st.Dev {
		return nil // to itself
	}
	if err := clearAt(parent, base); err != nil {
		return err
	}
	return unix.Linkat(int(from.Fd()), path.Base(name), int(parent.Fd()), base, 0)
}
