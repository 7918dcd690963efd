package emulate

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// Options are what Serve needs to know about a container.
type Options struct {
	UID, GID uint32   // the emulated ids of the process; the zero value is root
	Groups   []uint32 // its supplementary groups

	// State is shared by all that serve one container: its first process, and each later session, which needs the limit of
	// [State.Limit]. Nil: this filter alone.
	State *State

	// Hold has the kernel answer every call as it was asked, for as long as it is true: while the container's processes are
	// being restored from a checkpoint, whose restorer runs under the same filter but not as one of them. A call that is
	// being answered when it changes may go either way. Nil: never.
	Hold *atomic.Bool

	// Dumping has the kernel answer as they were asked the calls of tasks that are being traced, for as long as it is true:
	// they are not the program's own, but those of a checkpoint, which has stopped it and wants to know who it really is.
	// Nil: never.
	Dumping *atomic.Bool

	// Log takes what a container's user should see but no program can be told, one line at a time. It may be called
	// from several goroutines. Nil: nobody wants it.
	Log func(format string, args ...any)
}

// State is what a container's files and processes have in common. Its memory is bounded.
type State struct {
	table  table
	owners memory

	begun sync.Once
	first Options // see Begin
}

// NewState gives the state of a container that begins.
func NewState() *State {
	return &State{table: table{numbers: map[string]uint32{}}, owners: memory{owners: map[inode]Owner{}}}
}

// maxWorkers answer at the same time where some are stuck in slow file systems.
const maxWorkers = 8

// Serve answers the notifications of a filter until its last task is gone. It does not close the listener. After an
// error nobody answers: end the container, its programs wait for ever.
//
// The caller is in a pid namespace that contains the tasks, with its own /proc, and has CAP_SYS_PTRACE,
// CAP_SYS_CHROOT and CAP_DAC_OVERRIDE in a user namespace that is theirs or above it, where the one id is root.
//
// Errors: no seccomp notification in this kernel, /proc not mounted, a hard limit of RLIMIT_LOCKS, a listener that is
// none.
func Serve(listener *os.File, o Options) error {
	s, err := newServer(listener, o)
	if err != nil {
		return fmt.Errorf("serve seccomp notifications: %w", err)
	}
	answering := notify.Server{Listener: s.listener, Begin: s.begin, Workers: maxWorkers, Log: s.options.Log}
	if err := answering.Serve(); err != nil {
		return fmt.Errorf("serve seccomp notifications: %w", err)
	}
	return nil
}

// server answers for one filter.
type server struct {
	listener *notify.Listener
	procfs   int // descriptors of the supervisor's own /proc and /
	root     int
	options  Options
	state    *State
	bounding func(process) capabilities
}

func newServer(f *os.File, o Options) (*server, error) {
	l, err := notify.Listen(f)
	if err := errors.Join(err, checkTagResource()); err != nil {
		return nil, err
	}
	if o.State == nil {
		o.State = NewState()
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	o.State.Begin(o)
	procfs, root, err := own.take()
	if err != nil {
		return nil, err
	}
	return &server{listener: l, procfs: procfs, root: root, options: o, state: o.State, bounding: onceBounding()}, nil
}

// directories are the supervisor's own /proc and /, by descriptors that stay open.
type directories struct {
	mu           sync.Mutex
	open         bool
	procfs, root int
}

var own directories

func (d *directories) take() (procfs, root int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		return d.procfs, d.root, nil
	}
	if d.procfs, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return -1, -1, fmt.Errorf("open /proc: %w", err)
	}
	if d.root, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return -1, -1, errors.Join(fmt.Errorf("open /: %w", err), unix.Close(d.procfs))
	}
	d.open = true
	return d.procfs, d.root, nil
}

// begin prepares a thread that changes its root, its directory and its umask.
func (s *server) begin() (notify.Handler, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("unshare root and umask: %w", err)
	}
	if err := unix.Fchdir(s.procfs); err != nil {
		return nil, fmt.Errorf("enter /proc: %w", err)
	}
	c := &call{server: s}
	return func(n *notify.Notification) notify.Answer {
		c.Notification, c.process = n, process{int(n.PID), s.procfs}
		if s.isOthers(c.process) {
			return notify.AsAsked()
		}
		return c.answer()
	}, nil
}

// isOthers tells whether a call is made on behalf of a checkpoint or a restore.
func (s *server) isOthers(p process) bool {
	if s.options.Hold != nil && s.options.Hold.Load() {
		return true
	}
	if s.options.Dumping == nil || !s.options.Dumping.Load() {
		return false
	}
	tracer, err := p.statusNumber("TracerPid", 10)
	return err == nil && tracer != 0
}
