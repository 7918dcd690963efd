package bridge

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// Options say what Serve has to know of the container that is dumped.
type Options struct {
	// Filters is how many seccomp filters each process of the container has from its keeper: these are hidden from CRIU. A
	// process that has another number has one of its own; it is not hidden, so CRIU refuses it. 0 hides none.
	Filters int

	// MaxShared is how large an object of shared memory may be, in bytes. To copy it is to read it, and to read what was
	// never written has the kernel make it, on the container's account. 0: as large as the memory that the machine has
	// available when it is read.
	MaxShared uint64

	// Log takes what explains a failed dump, one line at a time, never two at once. Nil: nobody wants it.
	Log func(format string, args ...any)
}

// Serve answers until CRIU, and all that it started under the filter, has ended. It does not close the listener.
//
// The caller is in a pid namespace that contains CRIU, with its own /proc, and has all capabilities in a user namespace above
// the container's.
//
// Errors: no seccomp notification in this kernel (Linux 5.9), /proc not mounted, a listener that is none. CRIU then waits
// for ever: kill it.
func Serve(listener *os.File, o Options) (err error) {
	s, err := newServer(listener, o)
	if err != nil {
		return fmt.Errorf("serve CRIU: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(s.procfs)) }()
	answering := notify.Server{Listener: s.listener, Begin: s.begin, Log: s.options.Log}
	if err := answering.Serve(); err != nil {
		return fmt.Errorf("serve CRIU: %w", err)
	}
	return nil
}

// server answers one CRIU.
type server struct {
	listener *notify.Listener
	options  Options
	procfs   int    // the supervisor's own /proc
	shmem    uint64 // the device that the kernel keeps memory files and shared memory on
}

func newServer(f *os.File, o Options) (*server, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	l, err := notify.Listen(f)
	if err != nil {
		return nil, err
	}
	shmem, err := shmemDevice()
	if err != nil {
		return nil, err
	}
	procfs, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	return &server{listener: l, options: o, procfs: procfs, shmem: shmem}, nil
}

func (s *server) begin() (notify.Handler, error) {
	return func(n *notify.Notification) notify.Answer {
		answer, ok := answers[n.Number]
		if !ok || n.PID == 0 { // pid 0: a task outside the supervisor's pid namespace
			return notify.AsAsked()
		}
		return answer(&call{n, s})
	}, nil
}

// call is one system call of CRIU's.
type call struct {
	*notify.Notification
	*server
}

// fd is an argument that the kernel takes as int.
func (c *call) fd(arg int) int { return int(int32(c.Args[arg])) }

// alive tells whether CRIU still waits: asked after something was opened by its number.
func (c *call) alive() bool { return c.listener.Valid(c.ID) }

// path is what CRIU names a file; empty for what is longer than any name that matters here.
func (c *call) path(address uint64) string {
	name, e := notify.ReadString(int(c.PID), address)
	if e != 0 || len(name) > longestName {
		return ""
	}
	return name
}

const longestName = len("/proc/self/map_files/0123456789abcdef-0123456789abcdef")

// openat answers for files of processes that CRIU inspects.
func (c *call) openat() notify.Answer {
	name := c.path(c.Args[1])
	if name == "status" {
		return c.inProcess(c.fd(0), (*call).openStatus)
	}
	if r, ok := cutRange(name, "map_files/"); ok {
		return c.inProcess(c.fd(0), func(c *call, p process) notify.Answer { return c.openShared(p, r) })
	}
	if r, ok := cutRange(name, ""); ok {
		return c.inMapFiles(c.fd(0), r, (*call).openMapping)
	}
	return notify.AsAsked()
}

// statPath answers for links to what is mapped.
func (c *call) statPath(dirfd int, name, buffer uint64) notify.Answer {
	path := c.path(name)
	if r, ok := cutRange(path, "/proc/self/map_files/"); ok {
		return c.statOwn(r, buffer)
	}
	if r, ok := cutRange(path, ""); ok && dirfd != unix.AT_FDCWD {
		return c.inMapFiles(dirfd, r, func(c *call, p process, r addresses) notify.Answer { return c.statMapping(p, r, buffer) })
	}
	return notify.AsAsked()
}

// file hands a descriptor over, which is closed.
func (c *call) file(fd int) notify.Answer { return notify.File(fd, c.Args[2]&unix.O_CLOEXEC != 0) }

// writeStat gives CRIU what it asked for.
func (c *call) writeStat(buffer uint64, st unix.Stat_t) notify.Answer {
	if !c.alive() {
		return notify.AsAsked()
	}
	if e := notify.WriteMemory(int(c.PID), buffer, notify.BytesOf(&st)); e != 0 {
		return notify.Fail(e)
	}
	return notify.Value(0)
}

func closeFD(fd int) { _ = unix.Close(fd) }
