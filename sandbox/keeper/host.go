package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
)

// hostTree puts host: together, the machine's own root below upper layers that are discarded. The kernel refuses an
// overlay over a directory with foreign mounts below it (they are locked together, mount_namespaces(7)), so each
// directory without any gets an overlay of its own, and those on the way to a mount are made anew.
type hostTree struct {
	c      *container
	points []string // where other file systems are mounted
	shown  []string // those of them that hold files on disk or network
	count  int
}

// ownDirectories are those that every container has its own of.
var ownDirectories = []string{"/dev", "/proc", "/run", "/sys"}

func (c *container) mountHost() error {
	if c.k.scratch.onDisk {
		return sandbox.Errorf(sandbox.CodeUnsupported, "run host: the changed files must be in memory, because a directory of the machine's own root cannot lie above it").
			WithRemedy("use Linux 6.6 or later")
	}
	t := &hostTree{c: c}
	c.host = &hostRecord{copy: filepath.Join(c.area.dir, "shown")}
	if err := t.listMounts(); err != nil {
		return err
	}
	if err := t.checkWorkingDir(); err != nil {
		return err
	}
	if err := t.directory("/"); err != nil {
		return err
	}
	return t.sharedMemory()
}

// sharedMemory mounts what becomes /dev/shm, and again below the root, where can be seen after the program's end what it has left.
func (t *hostTree) sharedMemory() error {
	source, shown := filepath.Join(t.c.area.dir, "shm"), filepath.Join(t.c.area.root, "dev/shm")
	if err := errors.Join(os.Mkdir(source, 0o755), os.Mkdir(shown, 0o755)); err != nil {
		return fmt.Errorf("create /dev/shm: %w", noSpace(err))
	}
	if err := unix.Mount("shm", source, "tmpfs", pseudo, shmData(t.c.spec)); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	t.c.mounted, t.c.host.shm = append(t.c.mounted, source), source
	if err := unix.Mount(source, shown, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind /dev/shm: %w", err)
	}
	t.c.mounted = append(t.c.mounted, shown)
	return nil
}

// checkWorkingDir refuses to start in a directory of the machine that the container would see empty.
func (t *hostTree) checkWorkingDir() error {
	dir := filepath.Clean(t.c.spec.WorkingDir)
	for _, m := range t.c.spec.Mounts {
		if within(dir, m.Target) {
			return nil
		}
	}
	for _, p := range t.points {
		if within(dir, p) && !slices.ContainsFunc(t.shown, func(s string) bool { return within(dir, s) && within(s, p) }) {
			return sandbox.Errorf(sandbox.CodeInvalid, "run host: in %s: it lies on %s, a file system that host: does not show", dir, p).
				WithRemedy("choose another directory by -w, or mount this one: -v %s:%s", dir, dir)
		}
	}
	return nil
}

func (t *hostTree) listMounts() error {
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("list the machine's mounts: %w", err)
	}
	for _, m := range list {
		if m.Mountpoint == "/" || within(m.Mountpoint, t.c.k.home) {
			continue
		}
		t.points = append(t.points, m.Mountpoint)
		if slices.Contains(shownTypes, m.FSType) {
			t.shown = append(t.shown, m.Mountpoint)
		}
	}
	return nil
}

// shownTypes leaves out what is in memory or of the kernel, and file systems that belong to one user (fuse).
var shownTypes = []string{
	"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "nfs", "nfs4", "9p", "virtiofs", "squashfs", "erofs",
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// directory makes one directory of the machine appear in the container.
func (t *hostTree) directory(dir string) error {
	target := filepath.Join(t.c.area.root, dir)
	st, err := os.Stat(dir)
	if err != nil || !st.IsDir() {
		return nil // gone meanwhile
	}
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create %s: %w", dir, noSpace(err))
	}
	mode := st.Mode().Perm() | st.Mode()&os.ModeSticky
	if err := os.Chmod(target, mode); err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	if err := t.c.host.directory(dir, mode); err != nil {
		return err
	}
	if slices.Contains(ownDirectories, dir) || t.hidden(dir) || !readable(dir) {
		return nil
	}
	if t.mountsBelow(dir) {
		return t.entries(dir)
	}
	return t.overlay(dir, target)
}

// hidden tells whether dir is a mount that is not shown.
func (t *hostTree) hidden(dir string) bool {
	return slices.Contains(t.points, dir) && !slices.Contains(t.shown, dir)
}

func (t *hostTree) mountsBelow(dir string) bool {
	return dir == "/" || slices.ContainsFunc(t.points, func(p string) bool { return p != dir && within(p, dir) })
}

func readable(dir string) bool { return unix.Access(dir, unix.R_OK|unix.X_OK) == nil }

// entries makes everything in a directory appear.
func (t *hostTree) entries(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range list {
		if err := t.entry(filepath.Join(dir, e.Name()), e.Type()); err != nil {
			return err
		}
	}
	return nil
}

func (t *hostTree) entry(path string, kind os.FileMode) error {
	target := filepath.Join(t.c.area.root, path)
	switch kind {
	case os.ModeDir:
		return t.directory(path)
	case os.ModeSymlink:
		link, err := os.Readlink(path)
		if err != nil {
			return nil // gone meanwhile
		}
		return errors.Join(os.Symlink(link, target), t.c.host.symlink(link, path))
	case 0:
		return t.file(path, target)
	default:
		return nil // devices and sockets are the machine's
	}
}

// file shows a single file, read-only.
func (t *hostTree) file(path, target string) error {
	if err := os.WriteFile(target, nil, 0o644); err != nil {
		return fmt.Errorf("create %s: %w", path, noSpace(err))
	}
	if err := unix.Mount(path, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", path, err)
	}
	t.c.mounted = append(t.c.mounted, target)
	t.c.host.file(path)
	// Flags that the machine's mount has are locked and must be repeated.
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return fmt.Errorf("bind %s: %w", path, err)
	}
	kept := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|kept, ""); err != nil {
		return fmt.Errorf("bind %s read-only: %w", path, err)
	}
	return nil
}

func (t *hostTree) overlay(dir, target string) error {
	t.count++
	upper := filepath.Join(t.c.area.upper, fmt.Sprint(t.count))
	work := filepath.Join(t.c.area.work, fmt.Sprint(t.count))
	for _, d := range []string{upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("create scratch directory: %w", noSpace(err))
		}
	}
	t.c.host.overlay(dir, upper)
	if err := copyMode([]string{dir}, upper); err != nil {
		return err
	}
	if err := adopt(dir, upper); err != nil {
		return fmt.Errorf("prepare %s of the machine: %w", dir, err)
	}
	if err := hideSockets(dir, upper); err != nil {
		return err
	}
	return t.c.mountOverlay(target, overlay.Options{Lower: []string{dir}, Upper: upper, Work: work, ReadOnly: t.c.spec.ReadOnly})
}

// mountOverlay mounts and remembers it for [container.discard].
func (c *container) mountOverlay(target string, o overlay.Options) error {
	if err := overlay.Mount(target, o); err != nil {
		return err
	}
	c.mounted = append(c.mounted, target)
	return nil
}

// noHostProgram is about a program that is not among what the container sees of the machine.
func noHostProgram(program string) error {
	dir := filepath.Dir(program)
	if shown, err := ShownByHost(dir); filepath.IsAbs(program) && err == nil && !shown && isThere(program) {
		return sandbox.Errorf(sandbox.CodeNoProgram, "execute %q: not found, because %s lies on a file system that host: does not show", program, dir).
			WithRemedy("copy the program elsewhere")
	}
	return sandbox.Errorf(sandbox.CodeNoProgram, "execute %q: not found on this machine, or its interpreter is not", program).
		WithRemedy("check the path and $PATH")
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
