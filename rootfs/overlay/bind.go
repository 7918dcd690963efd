package overlay

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// bindDetached needs Linux 5.12.
func bindDetached(target string, o Options) error {
	fd, err := cloneReadOnly(o.Lower[0])
	if err != nil {
		return err
	}
	return errors.Join(attach(fd, target), unix.Close(fd))
}

// cloneReadOnly makes a second, read-only mount of a directory.
func cloneReadOnly(dir string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("clone mount of %q: %w", dir, missing(err, "open_tree(2)"))
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make mount of %q read-only: %w", dir, missing(err, "mount_setattr(2)"))
	}
	return fd, nil
}

func missing(err error, call string) error {
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return tooOld(call, "5.12", err)
	}
	return err
}

// bindRemount uses mount(2), which wants to be told the flags that the file
// system was mounted with: inside a user namespace they may not be dropped.
func bindRemount(target string, o Options) error {
	dir := o.Lower[0]
	if err := unix.Mount(dir, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %q: %w", dir, err)
	}
	flags, err := mountFlags(target)
	if err == nil {
		err = unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|flags, "")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make mount of %q read-only: %w", dir, err), Unmount(target))
	}
	return nil
}

// mountFlags are those of statfs(2), which have the values of mount(2)'s but
// for relatime.
func mountFlags(target string) (uintptr, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return 0, err
	}
	flags := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	if st.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	return flags, nil
}
