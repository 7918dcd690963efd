package emulate

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options are what Serve needs to know about a container.
type Options struct {
	UID, GID uint32   // the emulated ids of the process; the zero value is root
	Groups   []uint32 // its supplementary groups

	// State is shared by all that serve one container: its first process, and each later session, which needs the limit of
	// [State.Limit]. Nil: this filter alone.
	State *State

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

// One worker is quickest: the kernel runs it and the asking task in turn on one processor. When it takes longer than
// patience over one call, for a slow file system or one that the container itself serves, another joins.
const (
	maxWorkers = 8
	patience   = 100 * time.Millisecond
)

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
	defer runtime.KeepAlive(listener)
	if err := s.run(); err != nil {
		return fmt.Errorf("serve seccomp notifications: %w", err)
	}
	return nil
}

// server answers for one filter.
type server struct {
	listener listener
	procfs   int // descriptors of the supervisor's own /proc and /
	root     int
	options  Options
	state    *State
	bounding func(process) capabilities

	group    errgroup.Group
	workers  atomic.Int32
	threads  sync.Map // ids of the threads that block in system calls
	joining  sync.Mutex
	stopping atomic.Bool // changes with joining held
}

func newServer(f *os.File, o Options) (*server, error) {
	if err := errors.Join(checkSizes(), checkTagResource()); err != nil {
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
	s := &server{listener: listener(f.Fd()), procfs: procfs, root: root, options: o, state: o.State, bounding: onceBounding()}
	s.listener.syncWakeUp()
	return s, nil
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

// run ends with the workers: each sees that the last task is gone, or fails. No thread uses the listener afterwards: its
// number may then be another file's.
func (s *server) run() error {
	done, gone := make(chan error, 1), make(chan error, 1)
	s.addWorker()
	go func() { done <- s.group.Wait() }()
	go func() { gone <- s.waitGone() }()
	var err error
	select {
	case err = <-done:
		s.stop()
		err = errors.Join(err, s.interruptUntil(gone))
	case err = <-gone:
		s.stop()
		err = errors.Join(err, s.interruptUntil(done))
	}
	return errors.Join(err, s.interruptUntil(s.late()))
}

// stop lets no worker join any more, and those end that are interrupted.
func (s *server) stop() {
	s.joining.Lock()
	defer s.joining.Unlock()
	s.stopping.Store(true)
}

// late waits for a worker that joined when the others had ended.
func (s *server) late() <-chan error {
	done := make(chan error, 1)
	go func() {
		_ = s.group.Wait() // its error is that of the first who failed
		done <- nil
	}()
	return done
}

// waitGone returns when the filter has no task any more.
func (s *server) waitGone() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.threads.Store(unix.Gettid(), nil)
	defer s.threads.Delete(unix.Gettid())
	return s.listener.waitGone(s.stopping.Load)
}

// interruptUntil wakes the workers that a kernel before 6.11 leaves waiting when the last task has gone, and all after a
// failure.
func (s *server) interruptUntil(done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Millisecond):
			s.interrupt()
		}
	}
}

func (s *server) addWorker() {
	s.joining.Lock()
	defer s.joining.Unlock()
	if s.stopping.Load() {
		return
	}
	if s.workers.Add(1) <= maxWorkers {
		s.group.Go(s.work)
	}
}

// interrupt makes ioctl return EINTR. The Go runtime uses this signal itself and takes it in its stride.
func (s *server) interrupt() {
	s.threads.Range(func(tid, _ any) bool {
		_ = unix.Tgkill(unix.Getpid(), tid.(int), unix.SIGURG)
		return true
	})
}

// work answers on a thread of its own, which ends with it: the thread changes its root, its directory and its umask.
func (s *server) work() error {
	runtime.LockOSThread()
	s.threads.Store(unix.Gettid(), nil)
	defer s.threads.Delete(unix.Gettid())
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare root and umask: %w", err)
	}
	if err := unix.Fchdir(s.procfs); err != nil {
		return fmt.Errorf("enter /proc: %w", err)
	}
	return s.loop()
}

func (s *server) loop() error {
	c := call{server: s}
	impatient := time.AfterFunc(time.Hour, s.addWorker)
	defer impatient.Stop()
	for {
		switch err := s.listener.receive(&c.notification); {
		case err == nil:
			impatient.Reset(patience)
			s.serve(&c)
			impatient.Stop()
		case errors.Is(err, errGone), errors.Is(err, unix.EINTR) && (s.stopping.Load() || s.listener.gone()):
			return nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT):
			return fmt.Errorf("receive: %w", err)
		}
	}
}

func (s *server) serve(c *call) {
	c.process = process{int(c.PID), s.procfs}
	if e := c.answer().send(s.listener, c.ID); e != 0 {
		s.options.Log("answer system call %d of process %d: %v", c.Number, c.PID, e)
	}
}
