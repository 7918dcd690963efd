package bridge

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

const sysFstatat = unix.SYS_NEWFSTATAT

// archRules are the calls that newer architectures do not have. Other C libraries than glibc use them.
var archRules = []rule{
	{notify.Trap{Number: unix.SYS_STAT}, func(c *call) notify.Answer { return c.statPath(unix.AT_FDCWD, c.Args[0], c.Args[1]) }},
}
