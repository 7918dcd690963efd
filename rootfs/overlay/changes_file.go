package overlay

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// overflowID is what the kernel shows for an id without a mapping (/proc/sys/kernel/overflowuid).
const overflowID = 65534

// made is the mode of directories that are made for a container.
const made = unix.S_IFDIR | 0o755

func kind(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

func isDir(st *unix.Stat_t) bool { return kind(st) == unix.S_IFDIR }

// isPlain tells whether a directory is as they are made for a container, or a file is.
func (v *version) isPlain() bool {
	return v.Mode == made && v.Uid == 0 && v.Gid == 0 && v.attribute(handle.OwnerAttribute) == ""
}

// differ compares two files of one name.
func (c *comparison) differ(file, old *version, name string) bool {
	if c.otherMode(file, old) || c.otherOwner(file, old) {
		return true
	}
	switch kind(&file.Stat_t) {
	case unix.S_IFLNK:
		return file.target() != old.target()
	case unix.S_IFDIR:
		if c.Adopted || c.way[name] {
			c.loose[name] = true
		} else if !sameTime(file.Mtim, old.Mtim) {
			return true
		}
	default:
		if !sameTime(file.Mtim, old.Mtim) || file.Size != old.Size || file.Rdev != old.Rdev {
			return true
		}
	}
	return file.otherAttribute(old, handle.OwnerAttribute) || file.otherAttribute(old, "security.capability")
}

func (c *comparison) otherMode(file, old *version) bool {
	mode := old.Mode
	if c.Adopted && isDir(&old.Stat_t) && old.Uid == overflowID {
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return file.Mode != mode && file.Mode != old.Mode
}

func (c *comparison) otherOwner(file, old *version) bool {
	return c.otherID(file.Uid, old.Uid) || c.otherID(file.Gid, old.Gid)
}

func (c *comparison) otherID(id, old uint32) bool {
	return id != old && !(c.Adopted && id == 0 && old == overflowID)
}

// target is where a symlink leads.
func (v *version) target() string {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(v.at, v.base, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// sameTime takes a time without a fraction for one that its file system did not keep.
func sameTime(a, b unix.Timespec) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

func (v *version) otherAttribute(old *version, attr string) bool {
	if k := kind(&v.Stat_t); k != unix.S_IFREG && k != unix.S_IFDIR {
		return false // the kernel lets no others have these attributes
	}
	return v.attribute(attr) != old.attribute(attr)
}

// attribute returns "" also where there is none. The file is not opened: a container made it.
func (v *version) attribute(attr string) string { return attributeAt(v.at, v.base, attr) }

func attributeAt(at int, base, attr string) string {
	var value [256]byte
	n, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(at)+"/"+base, attr, value[:])
	if err != nil {
		return ""
	}
	return string(value[:n])
}

// isWhiteout knows both forms: a character device 0/0, and in a directory that says so an empty file with an attribute.
func isWhiteout(at int, base string, st *unix.Stat_t) bool {
	if kind(st) == unix.S_IFCHR {
		return st.Rdev == 0
	}
	return kind(st) == unix.S_IFREG && st.Size == 0 && handle.Opacity(at) == 'x' && hasAttribute(at, base, handle.Whiteout)
}

func hasAttribute(at int, base, attr string) bool {
	_, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(at)+"/"+base, attr, nil)
	return err == nil
}
