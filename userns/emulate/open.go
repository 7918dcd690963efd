package emulate

import (
	"errors"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// unnamed is the bit that makes O_TMPFILE out of O_DIRECTORY.
const unnamed = unix.O_TMPFILE &^ unix.O_DIRECTORY

// creating are the flags of open that may make a file.
const creating = unix.O_CREAT | unnamed

func open(c *call) notify.Answer   { return c.open(unix.AT_FDCWD, 0, c.id(1), c.id(2)) }
func openat(c *call) notify.Answer { return c.open(c.fd(0), 1, c.id(2), c.id(3)) }

func creat(c *call) notify.Answer {
	return c.open(unix.AT_FDCWD, 0, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, c.id(1))
}

// open makes the file if it is not there and would not be root's, and leaves all else to the kernel.
func (c *call) open(dirfd, arg int, flags, mode uint32) notify.Answer {
	if flags&unix.O_PATH != 0 {
		return notify.AsAsked()
	}
	name, e := c.string(arg)
	switch {
	case e != 0:
		return notify.Fail(e)
	case flags&unnamed != 0:
		return c.openUnnamed(dirfd, name, flags, mode)
	case flags&unix.O_DIRECTORY != 0 || strings.HasSuffix(name, "/"):
		return notify.AsAsked()
	}
	a := c.openNew(dirfd, name, flags, mode)
	if a.Passes() && flags&(unix.O_EXCL|unix.O_NOFOLLOW) == 0 {
		return c.openThroughLink(dirfd, name, flags, mode)
	}
	return a
}

// openThroughLink makes the file that a dangling symbolic link points to.
func (c *call) openThroughLink(dirfd int, name string, flags, mode uint32) notify.Answer {
	k, err := c.credentials(c.process)
	if err != nil || k.owner() == (Owner{}) {
		return notify.AsAsked()
	}
	final := c.finalName(dirfd, name)
	if final == name {
		return notify.AsAsked()
	}
	return c.openNew(dirfd, final, flags, mode)
}

func (c *call) openNew(dirfd int, name string, flags, mode uint32) notify.Answer {
	return c.at(dirfd, name, func(p place) notify.Answer { return c.openPlace(p, flags, mode) })
}

// openPlace hands over an open new file. Another task may make it first: then it is there, and not ours to label.
func (c *call) openPlace(p place, flags, mode uint32) notify.Answer {
	if p.owner == (Owner{}) || p.exists() {
		return notify.AsAsked()
	}
	fd, err := c.make(p, func() (int, error) {
		return unix.Openat(p.dir, p.name, int(flags|unix.O_EXCL|unix.O_CLOEXEC), mode&0o7777)
	})
	switch {
	case errors.Is(err, unix.EEXIST):
		return notify.AsAsked()
	case err != nil:
		return failed(err)
	}
	return notify.File(fd, flags&unix.O_CLOEXEC != 0)
}

func (c *call) openUnnamed(dirfd int, name string, flags, mode uint32) notify.Answer {
	dir, err := c.lookup(dirfd, name, true)
	return c.inDirectory(dir, err, ".", func(p place) notify.Answer {
		if p.owner == (Owner{}) {
			return notify.AsAsked()
		}
		fd, err := c.make(p, func() (int, error) {
			return unix.Openat(p.dir, p.name, int(flags|unix.O_CLOEXEC), mode&0o7777)
		})
		if err != nil {
			return failed(err)
		}
		return notify.File(fd, flags&unix.O_CLOEXEC != 0)
	})
}

// openat2 has its flags in memory, so that every call comes here.
func openat2(c *call) notify.Answer {
	var how unix.OpenHow
	if c.Args[3] < uint64(unsafe.Sizeof(how)) || c.readMemory(c.Args[2], notify.BytesOf(&how)) != 0 {
		return notify.AsAsked()
	}
	if how.Flags&creating == 0 || how.Flags>>32 != 0 || how.Mode&^0o7777 != 0 {
		return notify.AsAsked()
	}
	if how.Resolve == 0 {
		return c.open(c.fd(0), 1, uint32(how.Flags), uint32(how.Mode))
	}
	return c.openResolved(&how)
}

// openResolved finds the directory under the restrictions that the caller wants, which exclude links at the end.
func (c *call) openResolved(how *unix.OpenHow) notify.Answer {
	name, e := c.string(1)
	last := name[strings.LastIndexByte(name, '/')+1:]
	if e != 0 || last == "" || last == "." || last == ".." || how.Flags&(unnamed|unix.O_PATH|unix.O_DIRECTORY) != 0 {
		return notify.AsAsked()
	}
	restricted := unix.OpenHow{Flags: handleFlags | unix.O_DIRECTORY, Resolve: how.Resolve | unix.RESOLVE_NO_MAGICLINKS}
	dir, err := c.resolveInView(c.fd(0), parent(name), restricted)
	return c.inDirectory(dir, err, last, func(p place) notify.Answer {
		return c.openPlace(p, uint32(how.Flags), uint32(how.Mode))
	})
}
