package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Names in a volume's directory of what is being copied, and of what is whole and waits to be moved into _data.
const (
	fillingName = "filling"
	filledName  = "filled"
)

// Content is what an empty volume is given.
type Content struct {
	// Copy, if not nil, puts files into the empty directory dst, and gives it the owner, mode and attributes of the volume's own.
	Copy func(ctx context.Context, dst *os.File) error
	// Describe gives dst the owner, mode, times and attributes of src.
	Describe func(dst, src *os.File) error
}

// Fill gives an empty volume its first files; one that has any stays as it is but for what was begun and not ended. Where several fill at once, one copies and the
// others wait. Whoever is killed meanwhile leaves the volume empty, or whole once it is used again.
//
// Errors: NotFound, NoSpace, the context's; those of content.
func (v *Volume) Fill(ctx context.Context, content Content) error {
	lock, err := v.lock(ctx, fillLockName)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := v.fill(ctx, content); err != nil {
		return full(about(err, "fill volume "+v.Name))
	}
	return nil
}

func (v *Volume) fill(ctx context.Context, content Content) error {
	filling, filled := filepath.Join(v.dir(), fillingName), filepath.Join(v.dir(), filledName)
	if err := v.settle(filled, content); err != nil {
		return err
	}
	if content.Copy == nil {
		return nil
	}
	empty, err := isEmpty(v.Data())
	if err != nil || !empty {
		return err
	}
	if err := unpack.Remove(filling); err != nil {
		return err
	}
	if err := copyAside(ctx, filling, content); err != nil {
		return errors.Join(err, unpack.Remove(filling))
	}
	step("copied")
	if err := os.Rename(filling, filled); err != nil {
		return err
	}
	step("whole")
	return v.settle(filled, content)
}

func copyAside(ctx context.Context, dir string, content Content) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	dst, err := handle.OpenDir(dir)
	if err != nil {
		return err
	}
	defer dst.Close()
	return content.Copy(ctx, dst)
}

// settle moves what is whole into the volume, name by name: containers that have the volume mounted see the same directory.
// What they made themselves in the meantime stays.
func (v *Volume) settle(filled string, content Content) error {
	src, err := handle.OpenDir(filled)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := handle.OpenDir(v.Data())
	if err != nil {
		return err
	}
	defer dst.Close()
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Renameat2(int(src.Fd()), name, int(dst.Fd()), name, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("move %q: %w", name, err)
		}
		step("moved")
	}
	if err := content.Describe(dst, src); err != nil {
		return err
	}
	return unpack.Remove(filled)
}

func isEmpty(dir string) (bool, error) {
	d, err := handle.OpenDir(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
