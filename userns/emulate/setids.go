package emulate

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

func setuid(c *call) notify.Answer {
	return c.changeUID(func(i ids, can bool) (ids, unix.Errno) { return i.set(c.id(0), can) })
}

func setreuid(c *call) notify.Answer {
	return c.changeUID(func(i ids, can bool) (ids, unix.Errno) { return i.setRE(c.id(0), c.id(1), can) })
}

func setresuid(c *call) notify.Answer {
	return c.changeUID(func(i ids, can bool) (ids, unix.Errno) { return i.setRES(c.id(0), c.id(1), c.id(2), can) })
}

func setgid(c *call) notify.Answer {
	return c.changeGID(func(i ids, can bool) (ids, unix.Errno) { return i.set(c.id(0), can) })
}

func setregid(c *call) notify.Answer {
	return c.changeGID(func(i ids, can bool) (ids, unix.Errno) { return i.setRE(c.id(0), c.id(1), can) })
}

func setresgid(c *call) notify.Answer {
	return c.changeGID(func(i ids, can bool) (ids, unix.Errno) { return i.setRES(c.id(0), c.id(1), c.id(2), can) })
}

func (c *call) changeUID(f func(ids, bool) (ids, unix.Errno)) notify.Answer {
	return c.change(func(old credentials) (credentials, unix.Errno) {
		n, e := f(old.uid, old.can(unix.CAP_SETUID))
		return old.withUID(n), e
	})
}

func (c *call) changeGID(f func(ids, bool) (ids, unix.Errno)) notify.Answer {
	return c.change(func(old credentials) (credentials, unix.Errno) {
		n, e := f(old.gid, old.can(unix.CAP_SETGID))
		old.gid = n
		return old, e
	})
}

// setfsuid and setfsgid answer with the id before the change, also when there was none.
func setfsuid(c *call) notify.Answer {
	var before uint32
	a := c.change(func(old credentials) (credentials, unix.Errno) {
		before = old.uid.fs
		return old.withFSUID(old.uid.setFS(c.id(0), old.can(unix.CAP_SETUID))), 0
	})
	return orValue(a, int64(before))
}

func setfsgid(c *call) notify.Answer {
	var before uint32
	a := c.change(func(old credentials) (credentials, unix.Errno) {
		before = old.gid.fs
		old.gid = old.gid.setFS(c.id(0), old.can(unix.CAP_SETGID))
		return old, 0
	})
	return orValue(a, int64(before))
}

const maxGroupsPerProcess = 65536 // NGROUPS_MAX

func setgroups(c *call) notify.Answer {
	return c.change(func(old credentials) (credentials, unix.Errno) {
		if !old.can(unix.CAP_SETGID) {
			return old, unix.EPERM
		}
		groups, e := c.readGroups(c.fd(0), c.Args[1])
		old.groups = groups
		return old, e
	})
}

func (c *call) readGroups(n int, address uint64) ([]uint32, unix.Errno) {
	if n < 0 || n > maxGroupsPerProcess {
		return nil, unix.EINVAL
	}
	b := make([]byte, 4*n)
	if e := c.readMemory(address, b); e != 0 {
		return nil, e
	}
	groups := make([]uint32, n)
	for i := range groups {
		groups[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return groups, 0
}
