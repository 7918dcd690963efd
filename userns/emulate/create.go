package emulate

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// place is where a file is to be made: one name in an open directory.
type place struct {
	dir   int
	name  string
	owner Owner // what the file's owner will be
}

func (p place) exists() bool {
	var st unix.Stat_t
	return unix.Fstatat(p.dir, p.name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// at finds the place that a path means, for f. What has no good place, the kernel refuses better.
func (c *call) at(dirfd int, name string, f func(place) notify.Answer) notify.Answer {
	base := path.Base(name)
	if name == "" || base == "." || base == ".." || base == "/" {
		return notify.AsAsked()
	}
	dir, err := c.lookup(dirfd, parent(name), true)
	return c.inDirectory(dir, err, base, f)
}

// inDirectory takes over the directory, or the error of getting it.
func (c *call) inDirectory(dir int, err error, base string, f func(place) notify.Answer) notify.Answer {
	if err != nil {
		return notify.AsAsked()
	}
	defer closeFD(dir)
	o, err := c.newOwner(dir)
	if err != nil || !c.alive() {
		return notify.AsAsked()
	}
	return f(place{dir, base, o})
}

// newOwner is the owner of a file that the caller makes in a directory.
func (c *call) newOwner(dir int) (Owner, error) {
	k, err := c.credentials(c.process)
	if err != nil {
		return Owner{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return Owner{}, err
	}
	o := k.owner()
	if st.Mode&unix.S_ISGID != 0 {
		label, ok := c.ownerOf(dir)
		if !ok {
			label = Owner{NoopID, NoopID}
		}
		o.GID = label.over(unmapped(st)).GID
	}
	return o, nil
}

// make makes a file with the caller's umask and labels it. f gives a descriptor of what it made.
func (c *call) make(p place, f func() (int, error)) (fd int, err error) {
	err = c.withUmask(func() error {
		fd, err = f()
		return err
	})
	if err != nil {
		return -1, err
	}
	if err := c.setOwner(fd, p.owner); err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// makeNode is make for what gives no descriptor: f makes it, and it is opened to be labelled.
func (c *call) makeNode(dirfd int, name string, f func(place) error) notify.Answer {
	return c.at(dirfd, name, func(p place) notify.Answer {
		if p.owner == (Owner{}) {
			return notify.AsAsked()
		}
		return c.makeAnyway(p, f)
	})
}

func (c *call) makeAnyway(p place, f func(place) error) notify.Answer {
	fd, err := c.make(p, func() (int, error) {
		if err := f(p); err != nil {
			return -1, err
		}
		return unix.Openat(p.dir, p.name, handleFlags|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return failed(err)
	}
	closeFD(fd)
	return notify.Value(0)
}

func mkdir(c *call) notify.Answer   { return c.mkdir(unix.AT_FDCWD, 0, c.id(1)) }
func mkdirat(c *call) notify.Answer { return c.mkdir(c.fd(0), 1, c.id(2)) }

func (c *call) mkdir(dirfd, arg int, mode uint32) notify.Answer {
	name, e := c.string(arg)
	if e != 0 {
		return notify.Fail(e)
	}
	return c.makeNode(dirfd, name, func(p place) error { return unix.Mkdirat(p.dir, p.name, mode) })
}

func symlink(c *call) notify.Answer   { return c.symlink(unix.AT_FDCWD, 1) }
func symlinkat(c *call) notify.Answer { return c.symlink(c.fd(1), 2) }

func (c *call) symlink(dirfd, arg int) notify.Answer {
	target, e := c.string(0)
	if e != 0 {
		return notify.Fail(e)
	}
	name, e := c.string(arg)
	if e != 0 {
		return notify.Fail(e)
	}
	if strings.HasSuffix(name, "/") {
		return notify.AsAsked()
	}
	return c.makeNode(dirfd, name, func(p place) error { return unix.Symlinkat(target, p.dir, p.name) })
}
