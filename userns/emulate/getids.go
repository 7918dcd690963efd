package emulate

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

func getuid(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer { return notify.Value(int64(k.uid.real)) })
}

func geteuid(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer { return notify.Value(int64(k.uid.effective)) })
}

func getgid(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer { return notify.Value(int64(k.gid.real)) })
}

func getegid(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer { return notify.Value(int64(k.gid.effective)) })
}

func getresuid(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer { return c.writeIDs(k.uid) })
}

func getresgid(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer { return c.writeIDs(k.gid) })
}

// tell answers from the caller's credentials.
func (c *call) tell(f func(credentials) notify.Answer) notify.Answer {
	k, err := c.credentials(c.process)
	if err != nil {
		return c.lost(err)
	}
	return f(k)
}

func (c *call) writeIDs(i ids) notify.Answer {
	for arg, id := range []uint32{i.real, i.effective, i.saved} {
		if e := c.write(c.Args[arg], &id); e != 0 {
			return notify.Fail(e)
		}
	}
	return notify.Value(0)
}

func getgroups(c *call) notify.Answer {
	return c.tell(func(k credentials) notify.Answer {
		switch room := c.fd(0); {
		case room < 0 || room > 0 && room < len(k.groups):
			return notify.Fail(unix.EINVAL)
		case room == 0:
			return notify.Value(int64(len(k.groups)))
		}
		var b []byte
		for _, g := range k.groups {
			b = binary.NativeEndian.AppendUint32(b, g)
		}
		if e := c.writeBytes(c.Args[1], b); e != 0 {
			return notify.Fail(e)
		}
		return notify.Value(int64(len(k.groups)))
	})
}

// write copies an id into the caller's memory.
func (c *call) write(address uint64, id *uint32) unix.Errno {
	return c.writeBytes(address, notify.BytesOf(id))
}

// writeBytes copies into the caller's memory, if it still waits.
func (c *call) writeBytes(address uint64, b []byte) unix.Errno {
	if !c.alive() {
		return unix.EFAULT
	}
	return c.writeMemory(address, b)
}
