package build

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
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
	return true, unchanged(opened, identityOf(&i.stat), i.base)
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
