package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

const sysFstatat = unix.SYS_NEWFSTATAT

// archRules are the calls that newer architectures do not have.
func archRules() []rule {
	return []rule{
		{unix.SYS_CHOWN, nil, chown},
		{unix.SYS_LCHOWN, nil, lchown},
		{unix.SYS_STAT, nil, stat},
		{unix.SYS_LSTAT, nil, lstat},
		{unix.SYS_OPEN, []notify.Condition{anyBit(1, creating)}, open},
		{unix.SYS_CREAT, nil, creat},
		{unix.SYS_MKDIR, nil, mkdir},
		{unix.SYS_MKNOD, nil, mknod},
		{unix.SYS_SYMLINK, nil, symlink},
	}
}
