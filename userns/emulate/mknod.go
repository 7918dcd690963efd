package emulate

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

func mknod(c *call) notify.Answer   { return c.mknod(unix.AT_FDCWD, 0) }
func mknodat(c *call) notify.Answer { return c.mknod(c.fd(0), 1) }

// mknod makes what a namespace's root may make. A device becomes an empty file, as image tools without privileges
// unpack it: it is there, with its owner and mode, and does nothing.
func (c *call) mknod(dirfd, arg int) notify.Answer {
	name, e := c.string(arg)
	if e != 0 {
		return notify.Fail(e)
	}
	if strings.HasSuffix(name, "/") {
		return notify.AsAsked()
	}
	mode, device := c.id(arg+1), c.id(arg+2)
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		return c.placeholder(dirfd, name, mode, device)
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG, 0:
		return c.makeNode(dirfd, name, func(p place) error { return unix.Mknodat(p.dir, p.name, mode, 0) })
	}
	return notify.AsAsked()
}

// placeholder refuses 0:0, which an overlay would take for a whiteout.
func (c *call) placeholder(dirfd int, name string, mode, device uint32) notify.Answer {
	k, err := c.credentials(c.process)
	if err != nil {
		return c.lost(err)
	}
	if !k.can(unix.CAP_MKNOD) || device == 0 {
		return notify.Fail(unix.EPERM)
	}
	mode = mode&^unix.S_IFMT | unix.S_IFREG
	return c.at(dirfd, name, func(p place) notify.Answer {
		return c.makeAnyway(p, func(p place) error { return unix.Mknodat(p.dir, p.name, mode, 0) })
	})
}
