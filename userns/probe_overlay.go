package userns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func probeOverlay(dir string) verdict {
	dir, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return no(err, "choose a directory that you may write: export BIVOUAC_HOME=DIR")
	}
	defer func() { _ = os.RemoveAll(dir) }() // removeTried clears up what stays
	if err := tryOverlay(dir); err != nil {
		return no(fmt.Errorf("on %s: %w", fileSystem(dir), err), overlayRemedy(err))
	}
	return yes("hides, adds and replaces files on %s", fileSystem(dir))
}

// removeTried removes what a probe left that was killed. An overlay's work directory has no permissions, and is not empty
// before the overlay is unmounted in order.
func removeTried(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	_ = os.RemoveAll(dir)
}

func overlayRemedy(err error) string {
	switch {
	case errors.Is(err, unix.ENODEV):
		return "sudo modprobe overlay"
	case errors.Is(err, unix.EPERM):
		return "start Linux 5.11 or newer, the first that lets users mount overlays"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free space there, or set BIVOUAC_HOME to a directory of another file system"
	}
	return "choose a directory on ext4, xfs or btrfs: export BIVOUAC_HOME=DIR"
}

func probeOverlayTmpfs(dir string) verdict {
	return onTmpfs(dir, func(dir string) verdict {
		if err := tryOverlay(dir); err != nil {
			return no(fmt.Errorf("on tmpfs: %w", err), "start Linux 6.6 or newer")
		}
		return yes("hides, adds and replaces files on tmpfs")
	})
}

func probeTmpfsXattrs(dir string) verdict {
	return onTmpfs(dir, func(dir string) verdict {
		if err := unix.Setxattr(dir, "user.bivouac", []byte("y"), 0); err != nil {
			return no(fmt.Errorf("set one: %w", err), "start Linux 6.6 or newer, the first with user xattrs on tmpfs")
		}
		return yes("one could be set")
	})
}

// onTmpfs calls f with a fresh memory file system, mounted for as long as that lasts.
func onTmpfs(dir string, f func(dir string) verdict) verdict {
	dir, err := os.MkdirTemp(dir, "tmpfs-")
	if err != nil {
		return unknown(err, "mend the lines above first")
	}
	defer func() { _ = os.RemoveAll(dir) }() // removeTried clears up what stays
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m"); err != nil {
		return unknown(fmt.Errorf("mount tmpfs: %w", err), "mend the lines above first")
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }() // ends with the namespace anyway
	return f(dir)
}

// tryOverlay mounts an overlay below dir and uses it. Mounting alone proves little: without extended attributes the kernel
// mounts with a warning, and then fails to replace a directory.
func tryOverlay(dir string) error {
	for _, name := range []string{"lower/old", "lower/replaced/old", "upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer handle.Close()
	// The path may hold commas and colons, which separate options and directories.
	safe := fmt.Sprintf("/proc/self/fd/%d/", handle.Fd())
	options := fmt.Sprintf("lowerdir=%slower,upperdir=%[1]supper,workdir=%[1]swork,userxattr", safe)
	merged := filepath.Join(dir, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	defer func() { _ = unix.Unmount(merged, unix.MNT_DETACH) }() // ends with the namespace anyway
	return useOverlay(merged)
}

// useOverlay needs whiteouts, which are device nodes, and opaque directories, which are marked by a user xattr.
func useOverlay(merged string) error {
	if err := os.Remove(filepath.Join(merged, "old")); err != nil {
		return fmt.Errorf("hide a directory: %w", err)
	}
	replaced := filepath.Join(merged, "replaced")
	if err := os.RemoveAll(replaced); err != nil {
		return fmt.Errorf("remove a directory: %w", err)
	}
	if err := os.Mkdir(replaced, 0o700); err != nil {
		return fmt.Errorf("replace a directory: %w", err)
	}
	left, err := os.ReadDir(replaced)
	if err != nil || len(left) != 0 {
		return fmt.Errorf("replace a directory: the replacement shows old files (%w)", errors.Join(err, unix.ENOTSUP))
	}
	return nil
}

// fileSystems names what linux/magic.h and the file systems' own headers define.
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	unix.FUSE_SUPER_MAGIC: "fuse", unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "ceph", 0x2fc12fc1: "zfs",
}

// fileSystem names the type of the file system that has the path.
func fileSystem(path string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "an unknown file system"
	}
	if name, ok := fileSystems[int64(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("a file system of type %#x", s.Type)
}
