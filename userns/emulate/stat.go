package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

func stat(c *call) notify.Answer  { return c.statPath(unix.AT_FDCWD, 0, 1, 0) }
func lstat(c *call) notify.Answer { return c.statPath(unix.AT_FDCWD, 0, 1, unix.AT_SYMLINK_NOFOLLOW) }

func fstatat(c *call) notify.Answer { return c.statPath(c.fd(0), 1, 2, c.id(3)) }

// fstat is the call that costs most often, and mostly about files of root: it opens nothing to know that.
func fstat(c *call) notify.Answer {
	name := c.path(fdName(c.fd(0)))
	o, ok := c.label(name)
	if !ok {
		o, ok = c.rememberedAt(name)
	}
	if !ok {
		return notify.AsAsked()
	}
	return c.answerStat(c.procfs, name, 0, o, c.Args[1])
}

func (c *call) rememberedAt(name string) (Owner, bool) {
	if c.state.owners.empty() {
		return Owner{}, false
	}
	fd, err := unix.Openat(c.procfs, name, handleFlags, 0)
	if err != nil {
		return Owner{}, false
	}
	defer closeFD(fd)
	return c.remembered(fd)
}

// statFlags are the AT_ flags that say which file is meant; others are the kernel's.
const statFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT

func (c *call) statPath(dirfd, name, buffer int, flags uint32) notify.Answer {
	if flags&^statFlags != 0 {
		return notify.AsAsked()
	}
	return c.labelled(dirfd, name, flags, func(fd int, o Owner) notify.Answer {
		return c.answerStat(fd, "", unix.AT_EMPTY_PATH, o, c.Args[buffer])
	})
}

// labelled calls f if the file has an emulated owner. All else is the kernel's to answer.
func (c *call) labelled(dirfd, name int, flags uint32, f func(int, Owner) notify.Answer) notify.Answer {
	fd, err := c.openAt(dirfd, name, flags)
	if err != nil {
		return notify.AsAsked()
	}
	defer closeFD(fd)
	o, ok := c.ownerOf(fd)
	if !ok {
		return notify.AsAsked()
	}
	return f(fd, o)
}

func (c *call) answerStat(dirfd int, name string, flags int, o Owner, buffer uint64) notify.Answer {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, flags); err != nil {
		return failed(err)
	}
	o = o.over(Owner{st.Uid, st.Gid})
	st.Uid, st.Gid = o.UID, o.GID
	return result(c.writeBytes(buffer, notify.BytesOf(&st)))
}

// syncType are the flags of statx(2) that are passed on to a network file system.
const syncType = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

// statx passes on what it is asked for; ids are filled in whether they are asked for or not, as the kernel does.
func statx(c *call) notify.Answer {
	flags := c.id(2)
	if flags&^(statFlags|syncType) != 0 {
		return notify.AsAsked()
	}
	return c.labelled(c.fd(0), 1, flags, func(fd int, o Owner) notify.Answer {
		var x unix.Statx_t
		sync := int(flags & syncType)
		if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|sync, c.fd(3), &x); err != nil {
			return failed(err)
		}
		o = o.over(Owner{x.Uid, x.Gid})
		x.Uid, x.Gid = o.UID, o.GID
		return result(c.writeBytes(c.Args[4], notify.BytesOf(&x)))
	})
}
