package emulate

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

func getuid(c *call) answer {
	return c.tell(func(k credentials) answer { return value(int64(k.uid.real)) })
}

func geteuid(c *call) answer {
	return c.tell(func(k credentials) answer { return value(int64(k.uid.effective)) })
}

func getgid(c *call) answer {
	return c.tell(func(k credentials) answer { return value(int64(k.gid.real)) })
}

func getegid(c *call) answer {
	return c.tell(func(k credentials) answer { return value(int64(k.gid.effective)) })
}

func getresuid(c *call) answer {
	return c.tell(func(k credentials) answer { return c.writeIDs(k.uid) })
}

func getresgid(c *call) answer {
	return c.tell(func(k credentials) answer { return c.writeIDs(k.gid) })
}

// tell answers from the caller's credentials.
func (c *call) tell(f func(credentials) answer) answer {
	k, err := c.credentials(c.process)
	if err != nil {
		return c.lost(err)
	}
	return f(k)
}

func (c *call) writeIDs(i ids) answer {
	for arg, id := range []uint32{i.real, i.effective, i.saved} {
		if e := c.write(c.Args[arg], &id); e != 0 {
			return fail(e)
		}
	}
	return value(0)
}

func getgroups(c *call) answer {
	return c.tell(func(k credentials) answer {
		switch room := c.fd(0); {
		case room < 0 || room > 0 && room < len(k.groups):
			return fail(unix.EINVAL)
		case room == 0:
			return value(int64(len(k.groups)))
		}
		var b []byte
		for _, g := range k.groups {
			b = binary.NativeEndian.AppendUint32(b, g)
		}
		if e := c.writeBytes(c.Args[1], b); e != 0 {
			return fail(e)
		}
		return value(int64(len(k.groups)))
	})
}

// write copies an id into the caller's memory.
func (c *call) write(address uint64, id *uint32) unix.Errno {
	return c.writeBytes(address, bytesOf(id))
}

// writeBytes copies into the caller's memory, if it still waits.
func (c *call) writeBytes(address uint64, b []byte) unix.Errno {
	if !c.alive() {
		return unix.EFAULT
	}
	return c.writeMemory(address, b)
}
