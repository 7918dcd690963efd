package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// Attributes of overlayfs that a lower layer needs, as it reads them when mounted with "userxattr" (Linux 5.11). Others
// speak of one mount's upper directory. What starts with escaped is a program's own, written through a mount (Linux 6.7).
const escapedPrefix = handle.OverlayPrefix + "overlay."

// welcome are the attributes beyond user.* that files keep.
var welcome = []string{"security.capability", "system.posix_acl_access", "system.posix_acl_default"}

// attribute is an extended attribute.
type attribute struct{ name, value string }

// goes tells whether an attribute goes with a file; layer is that of [CopyOptions].
func goes(name string, layer bool) bool {
	switch {
	case slices.Contains(welcome, name):
		return true
	case layer && strings.HasPrefix(name, handle.OverlayPrefix):
		return name == handle.Opaque || name == handle.Whiteout || strings.HasPrefix(name, escapedPrefix)
	}
	return strings.HasPrefix(name, "user.")
}

// attributesOf reads those of an open file or directory that go with it.
func attributesOf(fd int, layer bool) (attrs []attribute, err error) {
	found, err := handle.Attributes(fd, func(name string) bool { return goes(name, layer) })
	for name, value := range found {
		attrs = append(attrs, attribute{name, value})
	}
	return attrs, err
}

// set gives the attribute to an open file. What belongs to the kernel's security or ACLs may be refused: then the file is
// as it would be on a file system without them.
func (a attribute) set(fd int) error {
	err := unix.Fsetxattr(fd, a.name, []byte(a.value), 0)
	switch {
	case err == nil, slices.Contains(welcome, a.name) && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP)):
		return nil
	case errors.Is(err, unix.ENOTSUP):
		return fail(rootfs.NoXattr, "set BIVOUAC_HOME to a directory on ext4, XFS, Btrfs, or tmpfs with Linux 6.6",
			"set attribute %q: the file system has no user extended attributes", a.name)
	case errors.Is(err, unix.ENOSPC) && hasRoom(fd): // as ext4 says of what does not fit into an inode
		return fail(rootfs.NoXattr, "", "set attribute %q: the file system cannot hold its %d bytes", a.name, len(a.value))
	}
	return wrap(fmt.Sprintf("set attribute %q", a.name), err)
}

func hasRoom(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Bavail > 0 && (st.Files == 0 || st.Ffree > 0)
}
