package notify

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// patience is how long a worker may take over one call, for a slow file system or one that the filter's own tasks serve,
// before another joins. One worker is quickest: the kernel runs it and the asking task in turn on one processor.
const patience = 100 * time.Millisecond

// Handler answers one notification, which it must not keep.
type Handler func(n *Notification) Answer

// Server answers the notifications of one filter.
type Server struct {
	Listener *Listener

	// Begin prepares a worker, on a thread of its own that ends with it, so Begin may change the thread's root or directory.
	Begin func() (Handler, error)

	// Workers is the largest number of threads that answer at the same time; from two on, Log and the handlers may be
	// called at the same time. 0 means 1.
	Workers int

	// Log takes the answers that the kernel refused, one line at a time. Nil: nobody wants them.
	Log func(format string, args ...any)

	group    errgroup.Group
	workers  atomic.Int32
	threads  sync.Map // ids of the threads that block in system calls
	joining  sync.Mutex
	stopping atomic.Bool // changes with joining held
}

// Serve answers until the filter's last task is gone. It can be called once.
//
// It ends with the workers: each sees that the last task is gone, or fails. No thread uses the listener afterwards: its
// number may then be another file's.
//
// Errors: those of Begin, a listener that is none. Nobody answers after an error: the filter's tasks wait for ever.
func (s *Server) Serve() error {
	defer runtime.KeepAlive(s.Listener.file)
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
func (s *Server) stop() {
	s.joining.Lock()
	defer s.joining.Unlock()
	s.stopping.Store(true)
}

// late waits for a worker that joined when the others had ended.
func (s *Server) late() <-chan error {
	done := make(chan error, 1)
	go func() {
		_ = s.group.Wait() // its error is that of the first who failed
		done <- nil
	}()
	return done
}

// waitGone returns when the filter has no task any more.
func (s *Server) waitGone() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.threads.Store(unix.Gettid(), nil)
	defer s.threads.Delete(unix.Gettid())
	return s.Listener.waitGone(s.stopping.Load)
}

// interruptUntil wakes the workers that a kernel before 6.11 leaves waiting when the last task has gone, and all after a
// failure.
func (s *Server) interruptUntil(done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Millisecond):
			s.interrupt()
		}
	}
}

func (s *Server) addWorker() {
	s.joining.Lock()
	defer s.joining.Unlock()
	if s.stopping.Load() {
		return
	}
	if s.workers.Add(1) <= int32(max(s.Workers, 1)) {
		s.group.Go(s.work)
	}
}

// interrupt makes ioctl return EINTR. The Go runtime uses this signal itself and takes it in its stride.
func (s *Server) interrupt() {
	s.threads.Range(func(tid, _ any) bool {
		_ = unix.Tgkill(unix.Getpid(), tid.(int), unix.SIGURG)
		return true
	})
}

// work never unlocks its thread, which so ends with it, whatever Begin changed.
func (s *Server) work() error {
	runtime.LockOSThread()
	s.threads.Store(unix.Gettid(), nil)
	defer s.threads.Delete(unix.Gettid())
	handle, err := s.Begin()
	if err != nil {
		return err
	}
	return s.loop(handle)
}

func (s *Server) loop(handle Handler) error {
	n := new(Notification)
	impatient := time.AfterFunc(time.Hour, s.addWorker)
	defer impatient.Stop()
	for {
		switch err := s.Listener.receive(n); {
		case err == nil:
			impatient.Reset(patience)
			s.answer(n, handle)
			impatient.Stop()
		case errors.Is(err, errGone), errors.Is(err, unix.EINTR) && (s.stopping.Load() || s.Listener.gone()):
			return nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT):
			return fmt.Errorf("receive: %w", err)
		}
	}
}

func (s *Server) answer(n *Notification, handle Handler) {
	if e := handle(n).send(s.Listener, n.ID); e != 0 && s.Log != nil {
		s.Log("answer system call %d of process %d: %v", n.Number, n.PID, e)
	}
}
