package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// writer is a visitor that copies what it is told of to a place.
type writer struct {
	ctx    context.Context
	target *target
	folder *folder
	place  place
	open   []*os.File // directories of the target from the place's down to where the walk is
	links  firstNames
}

func newWriter(ctx context.Context, t *target, f *folder, p place) *writer {
	return &writer{ctx: ctx, target: t, folder: f, place: p, open: []*os.File{p.dir}, links: firstNames{}}
}

// here is the directory of the target that stands for the one the walk is in.
func (w *writer) here() *os.File { return w.open[len(w.open)-1] }

func (w *writer) name(f *file) string {
	if f.path == "" {
		return w.place.name
	}
	return f.name
}

func (w *writer) directory(f *file) error {
	if f.path == "" {
		return nil
	}
	source, err := f.open()
	if err != nil {
		return err
	}
	defer source.Close()
	dir, err := w.enter(f.name)
	if err != nil {
		return fmt.Errorf("copy %s: %w", f.path, err)
	}
	w.open = append(w.open, dir)
	return w.describe(dir, source, f)
}

// enter opens a directory, which it makes if there is nothing of its name.
func (w *writer) enter(name string) (*os.File, error) {
	st, err := lstat(int(w.here().Fd()), name)
	if err == nil && kindOf(&st) != unix.S_IFDIR {
		return nil, fmt.Errorf("cannot copy a directory to %s, which is none", name)
	}
	if err != nil {
		if err := unix.Mkdirat(int(w.here().Fd()), name, 0o700); err != nil {
			return nil, fmt.Errorf("make directory %s: %w", name, err)
		}
	}
	return openDir(w.here(), name)
}

func (w *writer) leave(f *file) error {
	if f.path == "" {
		return nil
	}
	dir := w.here()
	w.open = w.open[:len(w.open)-1]
	return errors.Join(setTimes(dir, f), dir.Close())
}

// close closes what a walk has left open.
func (w *writer) close() {
	for _, dir := range w.open {
		_ = dir.Close()
	}
}

func (w *writer) regular(f *file) (err error) {
	if first := w.links.of(f); first != "" {
		return w.link(f, first)
	}
	source, err := f.open()
	if err != nil {
		return err
	}
	defer source.Close()
	made, err := create(w.here(), w.name(f))
	if err != nil {
		return fmt.Errorf("copy %s: %w", f.label(), err)
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	if err := copyFile(w.ctx, made, source, f.stat.Size); err != nil {
		return fmt.Errorf("copy %s: %w", f.label(), err)
	}
	if err := unchanged(source, identityOf(&f.stat), f.label()); err != nil {
		return err
	}
	if err := w.describe(made, source, f); err != nil {
		return err
	}
	return setTimes(made, f)
}

// chunk is how much is copied between two looks at the context, in bytes. Within one the kernel copies, by sharing the blocks where
// the file system can.
const chunk = 64 << 20

func copyFile(ctx context.Context, made, source *os.File, size int64) error {
	for done := int64(0); done < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(made, source, min(chunk, size-done))
		if err != nil {
			return err
		}
		done += n
	}
	return nil
}

// describe gives a copy what the original has, or what was asked for instead.
func (w *writer) describe(made, source *os.File, f *file) error {
	o := w.target.newOwner()
	var attrs map[string]string
	if w.folder.layers {
		if w.target.owner == nil {
			o = ownerOf(source, &f.stat, w.folder.single)
		}
		var err error
		if attrs, err = attributes(source); err != nil {
			return fmt.Errorf("copy %s: %w", f.label(), err)
		}
	}
	if err := w.target.describe(made, o, w.target.permissions(f.stat.Mode)); err != nil {
		return err
	}
	if err := setAttributes(made, attrs); err != nil { // after the owner, which takes capabilities away
		return fmt.Errorf("copy attributes of %s: %w", f.label(), err)
	}
	return nil
}

func (w *writer) symlink(f *file) error {
	link, err := f.readlink()
	if err != nil {
		return err
	}
	name := w.name(f)
	if err := clearAt(w.here(), name); err != nil {
		return fmt.Errorf("copy %s: %w", f.label(), err)
	}
	if err := unix.Symlinkat(link, int(w.here().Fd()), name); err != nil {
		return fmt.Errorf("copy link %s: %w", f.label(), err)
	}
	o := w.target.newOwner()
	if w.folder.layers && w.target.owner == nil {
		o = handle.Owner{UID: f.stat.Uid, GID: f.stat.Gid}
	}
	if err := w.target.ownLink(w.here(), name, o); err != nil {
		return err
	}
	times := []unix.Timespec{f.stat.Mtim, f.stat.Mtim}
	return unix.UtimesNanoAt(int(w.here().Fd()), name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// link gives a file that was copied already one more name.
func (w *writer) link(f *file, first string) error {
	handle, err := pathrs.OpenatInRoot(w.place.dir, first)
	if err != nil {
		return fmt.Errorf("link %s to %s: %w", f.path, first, err)
	}
	defer handle.Close()
	if err := clearAt(w.here(), f.name); err != nil {
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d", handle.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, from, int(w.here().Fd()), f.name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("link %s to %s: %w", f.path, first, err)
	}
	return nil
}

func setTimes(made *os.File, f *file) error {
	times := []unix.Timespec{f.stat.Mtim, f.stat.Mtim}
	if err := unix.UtimesNanoAt(int(made.Fd()), "", times, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times of %s: %w", f.label(), err)
	}
	return nil
}
