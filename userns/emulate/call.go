package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// call is one system call of a task that waits for its answer.
type call struct {
	*notify.Notification
	process
	*server
}

func (c *call) answer() notify.Answer {
	f, ok := answers[c.Number]
	if !ok || c.PID == 0 { // pid 0: a task outside the supervisor's pid namespace
		return notify.AsAsked()
	}
	return f(c)
}

// id is an argument that the kernel takes as 32 bits.
func (c *call) id(arg int) uint32 { return uint32(c.Args[arg]) }

// fd is an argument that the kernel takes as int.
func (c *call) fd(arg int) int { return int(int32(c.Args[arg])) }

// string reads a path. The errors are those the kernel would give.
func (c *call) string(arg int) (string, unix.Errno) { return c.readString(c.Args[arg]) }

// alive tells whether the task still waits: asked after its files were opened and before anything is done to them.
func (c *call) alive() bool { return c.listener.Valid(c.ID) }

func closeFD(fd int) { _ = unix.Close(fd) }
