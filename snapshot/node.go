package snapshot

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// createFlags make a file of that name and open no other.
const createFlags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW

// node describes a file that is to be made.
type node struct {
	mode     uint32 // with the kind
	uid, gid int
	times    [2]unix.Timespec // access, modification
	target   string           // of a symlink
	attrs    []attribute
}

func (n *node) kind() uint32 { return n.mode & unix.S_IFMT }

// nodeOf describes a file as another one is, but for target and attributes.
func nodeOf(st *status) node {
	return node{
		mode: uint32(st.Mode), uid: int(st.Uid), gid: int(st.Gid),
		times: [2]unix.Timespec{timespec(st.Atime), timespec(st.Mtime)},
	}
}

func timespec(ts unix.StatxTimestamp) unix.Timespec {
	return unix.Timespec{Sec: ts.Sec, Nsec: int64(ts.Nsec)}
}

// describe gives an open file or directory what its node says. The order matters: a change of owner clears setuid and
// capabilities, and an ACL is part of the mode.
func (n *node) describe(fd int) error {
	if err := n.chown(unix.Fchown(fd, n.uid, n.gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, n.mode&0o7777); err != nil {
		return wrap("set mode", err)
	}
	for _, a := range n.attrs {
		if err := a.set(fd); err != nil {
			return err
		}
	}
	return wrap("set times", unix.UtimesNanoAt(fd, "", n.times[:], unix.AT_EMPTY_PATH)) // Linux 5.8
}

// chown explains EINVAL, the kernel's word for an id without a mapping.
func (n *node) chown(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fail(rootfs.UnmappedID, "have larger ranges in /etc/subuid and /etc/subgid",
			"its owner %d:%d is outside of the mapped ids", n.uid, n.gid)
	}
	return wrap("set owner", err)
}

// makeAt makes and describes what is never opened: a symlink, fifo, socket or whiteout. A whiteout has no owner: only its
// being there counts.
func (n *node) makeAt(dir int, name string) error {
	switch n.kind() {
	case unix.S_IFLNK:
		if err := unix.Symlinkat(n.target, dir, name); err != nil {
			return wrap("make symlink", err)
		}
	case unix.S_IFIFO, unix.S_IFSOCK:
		if err := unix.Mknodat(dir, name, n.kind()|0o600, 0); err != nil {
			return wrap("make fifo or socket", err)
		}
	case unix.S_IFCHR:
		return whiteout(dir, name)
	default:
		return fail(rootfs.Unsupported, "remove it", "it is a device node, which no user namespace can make")
	}
	return n.describeAt(dir, name)
}

// describeAt is describe for what makeAt made. Should that have been replaced since, it is an error, and harmless.
func (n *node) describeAt(dir int, name string) error {
	fd, err := handleAt(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if st, err := statusOf(fd); err != nil || st.kind() != n.kind() || st.Nlink != 1 {
		return errors.Join(err, errors.New("it was replaced while it was made"))
	}
	if err := n.chown(unix.Fchownat(fd, "", n.uid, n.gid, unix.AT_EMPTY_PATH)); err != nil {
		return err
	}
	if n.kind() != unix.S_IFLNK {
		if err := unix.Chmod(self(fd), n.mode&0o7777); err != nil {
			return wrap("set mode", err)
		}
	}
	return wrap("set times", unix.UtimesNanoAt(fd, "", n.times[:], unix.AT_EMPTY_PATH))
}

// whiteout makes the character device 0/0, which needs no privilege (Linux 5.8). Where mknod(2) is forbidden it makes the
// form that Linux 6.7 added: an empty file with an attribute, in a directory that is marked to have some.
func whiteout(dir int, name string) error {
	err := unix.Mknodat(dir, name, unix.S_IFCHR, 0)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
		return wrap("make whiteout", err)
	}
	fd, err := handle.Open(dir, name, createFlags, 0o600)
	if err != nil {
		return wrap("make whiteout", err)
	}
	defer unix.Close(fd)
	return errors.Join(attribute{handle.Whiteout, "y"}.set(fd), attribute{handle.Opaque, "x"}.set(dir))
}

// place makes room for name in a directory by taking a file away, not a directory or mount point, and calls make again.
func place(dir int, name string, replace bool, make func() error) error {
	err := make()
	if !replace || !errors.Is(err, unix.EEXIST) {
		return err
	}
	st, err := statusAt(dir, name)
	switch {
	case err != nil:
		return err
	case st.isDir():
		return fmt.Errorf("replace directory by a file: %w", unix.EISDIR)
	case st.isMountPoint():
		return fmt.Errorf("replace mount point: %w", unix.EBUSY)
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil {
		return wrap("replace file", err)
	}
	return make()
}
