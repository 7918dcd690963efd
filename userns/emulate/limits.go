package emulate

import "golang.org/x/sys/unix"

// The limit that carries the tag looks unlimited, and setting it has no effect, as it has none in Linux.

func getrlimit(c *call) answer { return c.writeUnlimited(c.Args[1]) }

func setrlimit(c *call) answer { return c.ignoreLimit(c.Args[1]) }

func prlimit(c *call) answer {
	if c.Args[2] != 0 {
		if a := c.ignoreLimit(c.Args[2]); a.errno != 0 {
			return a
		}
	}
	if c.Args[3] == 0 {
		return value(0)
	}
	return c.writeUnlimited(c.Args[3])
}

func (c *call) writeUnlimited(address uint64) answer {
	l := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	return result(c.writeBytes(address, bytesOf(&l)))
}

func (c *call) ignoreLimit(address uint64) answer {
	var l unix.Rlimit
	if e := c.readMemory(address, bytesOf(&l)); e != 0 {
		return fail(e)
	}
	if l.Cur > l.Max {
		return fail(unix.EINVAL)
	}
	return value(0)
}
