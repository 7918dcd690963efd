package emulate

import (
	"strings"

	"golang.org/x/sys/unix"
)

func mknod(c *call) answer   { return c.mknod(unix.AT_FDCWD, 0) }
func mknodat(c *call) answer { return c.mknod(c.fd(0), 1) }

// mknod makes what a namespace's root may make. A device becomes an empty file, as image tools without privileges
// unpack it: it is there, with its owner and mode, and does nothing.
func (c *call) mknod(dirfd, arg int) answer {
	name, e := c.string(arg)
	if e != 0 {
		return fail(e)
	}
	if strings.HasSuffix(name, "/") {
		return asAsked()
	}
	mode, device := c.id(arg+1), c.id(arg+2)
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		return c.placeholder(dirfd, name, mode, device)
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG, 0:
		return c.makeNode(dirfd, name, func(p place) error { return unix.Mknodat(p.dir, p.name, mode, 0) })
	}
	return asAsked()
}

// placeholder refuses 0:0, which an overlay would take for a whiteout.
func (c *call) placeholder(dirfd int, name string, mode, device uint32) answer {
	k, err := c.credentials(c.process)
	if err != nil {
		return c.lost(err)
	}
	if !k.can(unix.CAP_MKNOD) || device == 0 {
		return fail(unix.EPERM)
	}
	mode = mode&^unix.S_IFMT | unix.S_IFREG
	return c.at(dirfd, name, func(p place) answer {
		return c.makeAnyway(p, func(p place) error { return unix.Mknodat(p.dir, p.name, mode, 0) })
	})
}
