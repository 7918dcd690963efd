package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// The limit that carries the tag looks unlimited, and setting it has no effect, as it has none in Linux.

func getrlimit(c *call) notify.Answer { return c.writeUnlimited(c.Args[1]) }

func setrlimit(c *call) notify.Answer { return c.ignoreLimit(c.Args[1]) }

func prlimit(c *call) notify.Answer {
	if c.Args[2] != 0 {
		if a := c.ignoreLimit(c.Args[2]); a.Errno() != 0 {
			return a
		}
	}
	if c.Args[3] == 0 {
		return notify.Value(0)
	}
	return c.writeUnlimited(c.Args[3])
}

func (c *call) writeUnlimited(address uint64) notify.Answer {
	l := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	return result(c.writeBytes(address, notify.BytesOf(&l)))
}

func (c *call) ignoreLimit(address uint64) notify.Answer {
	var l unix.Rlimit
	if e := c.readMemory(address, notify.BytesOf(&l)); e != 0 {
		return notify.Fail(e)
	}
	if l.Cur > l.Max {
		return notify.Fail(unix.EINVAL)
	}
	return notify.Value(0)
}
