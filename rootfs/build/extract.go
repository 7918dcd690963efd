package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
)

// extractor puts the files of a tar archive into a directory: those of ADD, and of contexts that are archives.
type extractor struct {
	warn func(format string, args ...any)
}

// extractItem extracts a file to the directory dest if it is an archive; done tells whether it is one.
func (x extractor) extractItem(ctx context.Context, s *selection, f *folder, i *item, d *describer, t *target, dest string) (bool, error) {
	opened, err := reopen(i.found)
	if err != nil || opened == nil {
		return false, err
	}
	defer opened.Close()
	if !isArchive(opened) {
		return false, nil
	}
	if _, err := opened.Seek(0, io.SeekStart); err != nil {
		return true, err
	}
	if err := s.walk(ctx, f, i, d); err != nil {
		return true, err
	}
	dir, err := t.makeAll(dest)
	if err != nil {
		return true, err
	}
	defer dir.Close()
	inside := *t
	inside.root = dir
	if err := x.extract(ctx, opened, &inside); err != nil {
		return true, fmt.Errorf("extract %s: %w", i.base, err)
	}
	return true, unchanged(opened, identityOf(&i.stat))
}

// reopen opens a regular file that was found; for other kinds it returns nil.
func reopen(f *found) (*os.File, error) {
	if kindOf(&f.stat) != unix.S_IFREG {
		return nil, nil
	}
	return pathrs.Reopen(f.handle, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK)
}

// isArchive is true for what begins as a tar archive does, compressed or not.
func isArchive(source io.Reader) bool {
	plain, err := rootfs.Decompress(source)
	if err != nil {
		return false
	}
	defer plain.Close()
	_, err = tar.NewReader(plain).Next()
	return err == nil
}

// extraction is one archive on its way.
type extraction struct {
	extractor
	target *target
	dirs   []dirTime
}

// dirTime is set when all is there, since each new file changes that of its directory.
type dirTime struct {
	name string
	time time.Time
}

// extract puts all files of an archive below the root of t. Neither names nor symlinks lead out of it.
func (x extractor) extract(ctx context.Context, archive io.Reader, t *target) error {
	plain, err := rootfs.Decompress(archive)
	if err != nil {
		return err
	}
	defer plain.Close()
	e := &extraction{extractor: x, target: t}
	for r := tar.NewReader(plain); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return e.setDirTimes()
		}
		if err != nil {
			return &rootfs.Error{Code: rootfs.BadArchive, Err: fmt.Errorf("read archive: %w", err)}
		}
		if err := e.entry(h, cancellable{ctx, r}); err != nil {
			return err
		}
	}
}

func (e *extraction) entry(h *tar.Header, content io.Reader) error {
	if slices.Contains(strings.Split(h.Name, "/"), "..") {
		return badEntry(h, errors.New("it leaves the archive's root"))
	}
	name := cleanIn(h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		e.dirs = append(e.dirs, dirTime{name, h.ModTime})
		return e.directory(name, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		e.warn("%s is left out: it is a device or a FIFO", printable(h.Name))
		return nil
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeSymlink, tar.TypeLink:
	default:
		return nil // headers of the whole archive
	}
	if name == "." {
		return badEntry(h, errors.New("it has no name"))
	}
	parent, err := e.target.makeAll(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := e.at(parent, path.Base(name), h, content); err != nil {
		return badEntry(h, err)
	}
	return nil
}

func badEntry(h *tar.Header, err error) error { return fmt.Errorf("entry %q: %w", h.Name, err) }

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
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && isImageAttr(name) {
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
func (e *extraction) owner(h *tar.Header) (owner, error) {
	if e.target.owner != nil {
		return *e.target.owner, nil
	}
	if h.Uid < 0 || h.Gid < 0 || h.Uid >= math.MaxUint32 || h.Gid >= math.MaxUint32 {
		return owner{}, fmt.Errorf("its owner %d:%d cannot be", h.Uid, h.Gid)
	}
	return owner{uint32(h.Uid), uint32(h.Gid)}, nil
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

func (e *extraction) setDirTimes() error {
	for _, d := range slices.Backward(e.dirs) {
		if d.name == "." {
			continue
		}
		dir, err := e.target.makeAll(d.name)
		if err != nil {
			return err
		}
		ts := timespec(d.time)
		err = unix.UtimesNanoAt(int(dir.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
		if err := errors.Join(err, dir.Close()); err != nil {
			return err
		}
	}
	return nil
}
