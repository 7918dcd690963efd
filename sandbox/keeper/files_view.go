package keeper

import (
	"errors"
	"os"
	"path"
	"path/filepath"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
)

// viewedRoot opens the container's root with its volumes and bind mounts in it, as a start would mount them, for the time in
// which no program has them. What is in memory only while a program runs is not there.
func (c *container) viewedRoot(doing string) (*os.File, error) {
	root, err := c.mountedRoot(doing)
	binds := c.bindMounts()
	if err != nil || len(binds) == 0 {
		return root, err
	}
	defer root.Close()
	view, err := c.k.assembleView(root, binds)
	if errors.Is(err, errUnmounted) {
		return nil, c.gone(doing)
	}
	var failed *mountError
	if errors.As(err, &failed) {
		return nil, sandbox.Errorf(sandbox.CodeMount, "%s container %s: mount %s on %s: %v", doing, c.displayName(), failed.mount.Source, failed.mount.Target, failed.err).
			WithRemedy("see that the source is there, and of the kind of the target; export has the container's files without its mounts")
	}
	return view, err
}

// bindMounts are the container's volumes and bind mounts, in the order in which they are mounted.
func (c *container) bindMounts() []sandbox.Mount {
	var binds []sandbox.Mount
	for _, m := range c.volumes.mounts {
		if m.Type == sandbox.MountBind {
			binds = append(binds, m)
		}
	}
	return binds
}

// errUnmounted says that the root file system was given up meanwhile.
var errUnmounted = errors.New("the root file system is not mounted any more")

// mountError says which of several mounts failed.
type mountError struct {
	mount sandbox.Mount
	err   error
}

func (e *mountError) Error() string { return e.err.Error() }

// assembleView mounts a second time what is mounted at root, with other mounts in it, at a place of its own, and takes the whole
// away from there: it goes when the returned handle is closed, and all that was opened through it. Sources are cloned
// before there is a place that they could contain.
func (k *keeper) assembleView(root *os.File, binds []sandbox.Mount) (_ *os.File, err error) {
	sources, err := cloneSources(binds)
	defer closeFiles(sources)
	if err != nil {
		return nil, err
	}
	view, err := cloneMounts(int(root.Fd()), "")
	if errors.Is(err, unix.EINVAL) {
		return nil, errUnmounted
	}
	if err != nil {
		return nil, os.NewSyscallError("open_tree", err)
	}
	defer view.Close()
	place, err := os.MkdirTemp(k.scratch.dir, "view")
	if err != nil {
		return nil, noSpace(err)
	}
	defer os.Remove(place) //nolint:errcheck // an empty directory that the scratch directory takes with it
	if err := unix.MoveMount(int(view.Fd()), "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, os.NewSyscallError("move_mount", err)
	}
	defer func() { err = errors.Join(err, overlay.Unmount(place)) }()
	for i, m := range binds {
		if err := mountInView(view, sources[i], m); err != nil {
			return nil, &mountError{m, err}
		}
	}
	// What is mounted on the machine meanwhile is not for the view.
	if err := unix.Mount("", place, "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	return cloneMounts(int(view.Fd()), "")
}

// cloneSources makes a mount of each source that is nowhere yet. The caller closes what is returned, also with an error.
func cloneSources(binds []sandbox.Mount) (sources []*os.File, err error) {
	for _, m := range binds {
		source, err := cloneMounts(unix.AT_FDCWD, m.Source)
		if err == nil {
			sources = append(sources, source)
		}
		if err == nil && m.ReadOnly {
			err = unix.MountSetattr(int(source.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}
		if err != nil {
			return sources, &mountError{m, err}
		}
	}
	return sources, nil
}

// cloneMounts makes a mount of what is at a path, and of all that is mounted below. It goes with the handle as long as it is
// nowhere.
func cloneMounts(dir int, path string) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(dir, path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "mount"), nil
}

// mountInView mounts a source on its target, which is made if it is missing, as a start does.
func mountInView(view, source *os.File, m sandbox.Mount) error {
	target, err := openMountTarget(view, source, filepath.Clean(m.Target))
	if err != nil {
		return noSpace(err)
	}
	defer target.Close()
	return unix.MoveMount(int(source.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

func openMountTarget(view, source *os.File, unsafePath string) (*os.File, error) {
	target, err := pathrs.OpenatInRoot(view, unsafePath)
	if !errors.Is(err, unix.ENOENT) {
		return target, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return pathrs.MkdirAllHandle(view, unsafePath, 0o755)
	}
	parent, err := pathrs.MkdirAllHandle(view, path.Dir(unsafePath), 0o755)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	fd, err := unix.Openat(int(parent.Fd()), path.Base(unsafePath), unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path.Base(unsafePath)), nil
}
