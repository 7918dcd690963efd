package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
	"github.com/bivouac-run/bivouac/snapshot"
)

// ownVolume is a volume that was made for the container. In a snapshot its files are among the container's, so that every clone
// has a copy: they are what the container has made. Volumes with a name are like bind mounts, the same for all.
type ownVolume struct {
	target string // without symlinks, below the root
	data   string
}

// locateOwnVolumes has the directories on which the container's own volumes are mounted in the upper directory, with all that
// lead there: a change of mode to what it is has overlayfs copy them.
func (c *container) locateOwnVolumes() ([]ownVolume, error) {
	var list []ownVolume
	for _, v := range c.volumes.open {
		if !v.mount.Anonymous {
			continue
		}
		target, err := c.copyUp(v.mount.Target)
		if err != nil {
			return nil, fmt.Errorf("prepare the volume on %s of the container: %w", v.mount.Target, err)
		}
		list = append(list, ownVolume{target, v.use.Volume().Data()})
	}
	return list, nil
}

// copyUp makes a directory of the root file system one of the upper directory, and returns its path without symlinks.
func (c *container) copyUp(target string) (string, error) {
	root, err := openRoot(c.area.root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	handle, err := pathrs.MkdirAllHandle(root, target, 0o755)
	if err != nil {
		return "", err
	}
	defer handle.Close()
	dir, err := pathrs.Reopen(handle, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return "", err
	}
	if err := unix.Fchmod(int(dir.Fd()), st.Mode&0o7777); err != nil {
		return "", noSpace(err)
	}
	return c.realPath(root, target), nil
}

// copyTo puts the volume's files into a layer, in the place of all that the layers below have there.
func (v ownVolume) copyTo(ctx context.Context, layer string) error {
	dst, err := openPlain(layer, strings.TrimPrefix(v.target, "/"))
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := empty(dst); err != nil {
		return err
	}
	src, err := os.OpenFile(v.data, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := snapshot.CopyTree(ctx, dst, src, snapshot.CopyOptions{Layer: true}); err != nil {
		return err
	}
	return unix.Fsetxattr(int(dst.Fd()), "user.overlay.opaque", []byte("y"), 0)
}

// openPlain opens a directory below another through no symlink.
func openPlain(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was only looked at
	for part := filepath.ToSlash(name); part != "." && part != ""; part = filepath.Dir(part) {
		if st, err := root.Lstat(part); err != nil || !st.IsDir() {
			return nil, errors.Join(fmt.Errorf("%s is no directory", part), err)
		}
	}
	return root.Open(name)
}

// empty removes what is in a directory of ours.
func empty(dir *os.File) error {
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		err = errors.Join(err, unpack.Remove(filepath.Join(dir.Name(), name)))
	}
	return err
}
