package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// paxXattr starts the PAX records that hold extended attributes.
const paxXattr = "SCHILY.xattr."

// xattrs are the extended attributes of an entry, sorted by name.
func xattrs(h *tar.Header) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if len(h.PAXRecords) == 0 {
			return
		}
		for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if attr, ok := strings.CutPrefix(key, paxXattr); ok && !yield(attr, h.PAXRecords[key]) {
				return
			}
		}
	}
}

// setXattrs sets what attributes an image may bring and reports the others.
func (x *extractor) setXattrs(fd int, name string, h *tar.Header) error {
	for attr, value := range xattrs(h) {
		err := error(unix.EPERM)
		if Welcome(attr) {
			err = unix.Fsetxattr(fd, attr, []byte(value), 0)
		}
		if refused(fd, err) {
			x.report.Xattrs.Add(attr + " on " + name)
		} else if err != nil {
			return fmt.Errorf("set attribute %q: %w", attr, err)
		}
	}
	return nil
}

// Welcome tells which attributes an image may bring and a layer of a container's files takes along: those of programs, but
// for overlayfs's and ours, and file capabilities. Others belong to the
// security modules and users of the machine that made the image, or like
// default ACLs would change files made later.
func Welcome(attr string) bool {
	return attr == "security.capability" ||
		strings.HasPrefix(attr, "user.") && !strings.HasPrefix(attr, handle.OverlayPrefix) && attr != handle.OwnerAttribute
}

// refusals are the errors of the file system or the kernel for an attribute that it does not take.
var refusals = []unix.Errno{unix.EPERM, unix.ENOTSUP, unix.EINVAL, unix.E2BIG, unix.ERANGE}

// refused tells whether the file system or the kernel cannot hold the
// attribute, which an image can live without. ENOSPC may also mean that it does
// not fit into an inode, as on ext4.
func refused(fd int, err error) bool {
	if errors.Is(err, unix.ENOSPC) {
		var st unix.Statfs_t
		return unix.Fstatfs(fd, &st) == nil && st.Bavail > 0 && (st.Files == 0 || st.Ffree > 0)
	}
	return slices.ContainsFunc(refusals, func(e unix.Errno) bool { return errors.Is(err, e) })
}

// setOwnXattr sets an attribute that the layer is wrong without.
func setOwnXattr(fd int, attr, value string) error {
	err := unix.Fsetxattr(fd, attr, []byte(value), 0)
	if noXattrs(err) {
		return &NoXattrError{FileSystem: fileSystem(fd), Err: err}
	}
	return wrap("set attribute "+attr, err)
}

func noXattrs(err error) bool { return errors.Is(err, unix.ENOTSUP) }

// fileSystems names what a store may lie on; statfs(2) has more.
var fileSystems = map[int64]string{
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "XFS",
	unix.BTRFS_SUPER_MAGIC:     "Btrfs",
	unix.NFS_SUPER_MAGIC:       "NFS",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.FUSE_SUPER_MAGIC:      "FUSE",
	unix.V9FS_MAGIC:            "9p",
	unix.CIFS_SUPER_MAGIC:      "CIFS",
	unix.SMB2_SUPER_MAGIC:      "SMB",
	unix.MSDOS_SUPER_MAGIC:     "FAT",
	unix.EXFAT_SUPER_MAGIC:     "exFAT",
}

func fileSystem(fd int) string {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "unknown"
	}
	if name, ok := fileSystems[int64(st.Type)]; ok {
		return name
	}
	return fmt.Sprintf("%#x", st.Type)
}
