package snapshot

import (
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// maxPath is how long a path below a tree's root may be: four times what a program can name at once.
const maxPath = 4 * unix.PathMax

// handleAt opens one name in a directory, without a right but to look at it.
func handleAt(at int, name string) (int, error) {
	return handle.Open(at, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// reopen opens the regular file of a handle for reading. A lease that a program holds on it is not waited for: EAGAIN.
func reopen(fd int) (int, error) {
	return handle.Open(unix.AT_FDCWD, self(fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// self names an open file.
func self(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// directoryAt opens the directory that a clean path leads to, "." for root itself, through no symlink and no mount point.
func directoryAt(root int, name string) (fd int, err error) {
	if len(name) > maxPath {
		return -1, unix.ENAMETOOLONG
	}
	return handle.OpenBelow(root, name)
}

// status is what the kernel says of a handle, or of one name in a directory without following it.
type status struct{ unix.Statx_t }

func statusOf(fd int) (st status, err error) {
	return st, unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st.Statx_t)
}

func statusAt(at int, name string) (st status, err error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	return st, unix.Statx(at, name, flags, unix.STATX_BASIC_STATS, &st.Statx_t)
}

func (st *status) kind() uint32 { return uint32(st.Mode) & unix.S_IFMT }

func (st *status) isDir() bool { return st.kind() == unix.S_IFDIR }

// isWhiteout tells whether it is a character device 0/0.
func (st *status) isWhiteout() bool {
	return st.kind() == unix.S_IFCHR && st.Rdev_major == 0 && st.Rdev_minor == 0
}

// isMountPoint tells whether something is mounted on it (Linux 5.8).
func (st *status) isMountPoint() bool { return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 }

// inode identifies a file.
type inode struct {
	major, minor uint32
	number       uint64
}

func (st *status) inode() inode { return inode{st.Dev_major, st.Dev_minor, st.Ino} }

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// split is the directory of a clean relative path, and the name in it.
func split(name string) (dir, base string) { return path.Dir(name), path.Base(name) }
