package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/sandbox"
)

// session connects our own standard streams with the program's, by pipes or by a terminal. The program never gets our
// files themselves: it could read keystrokes from a terminal, or change the owner of a file.
type session struct {
	sessionOptions
	streams sandbox.Streams // what the container gets
	theirs  []io.Closer     // our copies of it
	outputs sync.WaitGroup
	input   io.WriteCloser // the other end of the program's stdin, nil if it has none
	direct  *os.File       // the program's terminal, where it is ours
	restore func()
	lost    atomic.Pointer[error] // why output could not be passed on

	detached chan struct{} // closed by the detach keys
}

// sessionOptions say what is connected.
type sessionOptions struct {
	stdin, stdout, stderr bool
	terminal              bool   // the program has one
	held                  bool   // its streams are the keeper's, and we are attached to them
	detachKeys            []byte // only in a terminal
}

func (f *runFlags) setTerminal(s *sandbox.Spec) error {
	if !f.tty {
		return nil
	}
	if f.interactive && !f.detach && !f.create && !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("--tty: the input is not a terminal; leave out -t, or -i")
	}
	s.Terminal = &sandbox.TerminalSize{}
	if columns, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		s.Terminal.Rows, s.Terminal.Columns = uint16(rows), uint16(columns)
	}
	return nil
}

// openSession is for a program that is started here. The keeper holds the streams of containers that are kept.
func (f *runFlags) openSession(spec *sandbox.Spec) (*session, error) {
	keys, err := parseDetachKeys(f.detachKeys)
	if err != nil {
		return nil, err
	}
	return newSession(sessionOptions{
		stdin: f.interactive && f.more.attaches("stdin"), stdout: f.more.attaches("stdout"), stderr: f.more.attaches("stderr"),
		terminal: spec.Terminal != nil, held: spec.Keep, detachKeys: keys,
	})
}

func newSession(o sessionOptions) (*session, error) {
	s := &session{sessionOptions: o, restore: func() {}, detached: make(chan struct{})}
	s.streams.Held = o.held
	if err := s.connect(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// connect makes pipes to and from the program. A terminal that nobody holds needs none.
func (s *session) connect() (err error) {
	if s.terminal && !s.held {
		return nil
	}
	if s.stdout {
		if s.streams.Stdout, err = s.output(os.Stdout); err != nil {
			return err
		}
	}
	if s.stderr && !s.terminal {
		if s.streams.Stderr = s.streams.Stdout; !s.stdout || !sameOpenFile(os.Stdout, os.Stderr) { // one pipe keeps the order
			if s.streams.Stderr, err = s.output(os.Stderr); err != nil {
				return err
			}
		}
	}
	if s.stdin {
		s.streams.Stdin, err = s.pipeInput()
	}
	return err
}

// output returns the writing end of a pipe into w.
func (s *session) output(w *os.File) (*os.File, error) {
	r, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create pipe: %w", err)
	}
	s.theirs = append(s.theirs, theirs)
	s.outputs.Go(func() {
		defer r.Close()
		if _, err := io.Copy(w, r); err != nil { // a closed output ends this process by SIGPIPE
			s.lost.Store(&err)
			_, _ = io.Copy(io.Discard, r) // so that the program can end
		}
	})
	return theirs, nil
}

func (s *session) pipeInput() (*os.File, error) {
	theirs, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create pipe: %w", err)
	}
	s.theirs = append(s.theirs, theirs)
	s.input = w
	return theirs, nil
}

// started closes our copies of the container's streams, so that their ends are seen.
func (s *session) started() {
	for _, c := range s.theirs {
		_ = c.Close()
	}
	s.theirs = nil
	if !s.terminal {
		s.passInput()
	}
}

// passInput passes our input on, once.
func (s *session) passInput() {
	w := s.input
	if w == nil {
		return
	}
	s.input = nil
	go func() {
		s.typeTo(w) // ends with our input, or with the program's
		_ = w.Close()
	}()
}

// typeTo passes our input on until its end, or until the detach keys come.
func (s *session) typeTo(w io.Writer) {
	from := io.Reader(os.Stdin)
	if s.terminal {
		from = &keyReader{from: os.Stdin, keys: s.detachKeys}
	}
	if _, err := io.Copy(w, from); errors.Is(err, errDetached) {
		close(s.detached)
	}
}

// attach connects the program's terminal, if it has one. Until then our own terminal works as ever: it shows the progress
// of a pull, and Ctrl-C ends that.
func (s *session) attach(terminal *os.File) error {
	if terminal == nil {
		return nil
	}
	direct, err := interruptibleFile(terminal)
	if err != nil {
		return err
	}
	s.direct = direct
	s.followSize(func(size sandbox.TerminalSize) {
		_ = handle.Control(direct, func(fd int) error {
			return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
		})
	})
	s.outputs.Go(func() {
		_, _ = io.Copy(struct{ io.Writer }{os.Stdout}, direct) // EIO when the last program of the terminal is gone
	})
	if !s.stdin {
		return nil
	}
	if err := s.enterRaw(); err != nil {
		return err
	}
	go s.typeTo(direct)
	return nil
}

// attachHeld connects our terminal with one that the keeper holds, if the program has one.
func (s *session) attachHeld(ctx context.Context, c *sandbox.Container) error {
	if !s.terminal || !s.held {
		return nil
	}
	s.followSize(func(size sandbox.TerminalSize) { _ = c.ResizeTerminal(ctx, size) }) // of no matter where it has ended
	if !s.stdin {
		return nil
	}
	if err := s.enterRaw(); err != nil {
		return err
	}
	s.passInput()
	return nil
}

// enterRaw hands every keystroke to the program's terminal.
func (s *session) enterRaw() error {
	fd := int(os.Stdin.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	s.restore = sync.OnceFunc(func() { _ = term.Restore(fd, old) })
	return nil
}

// followSize tells our terminal's size, and each change of it.
func (s *session) followSize(tell func(sandbox.TerminalSize)) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	resize := func() {
		if size, ok := ownSize(); ok {
			tell(size)
		}
	}
	resize()
	go func() {
		for range changes {
			resize()
		}
	}()
}

func ownSize() (sandbox.TerminalSize, bool) {
	columns, rows, err := term.GetSize(int(os.Stdout.Fd()))
	return sandbox.TerminalSize{Rows: uint16(rows), Columns: uint16(columns)}, err == nil
}

// stay returns how the program ended, as wait tells, once all of its output has been passed on; or that the user has detached by
// keys, which leaves it running.
func (s *session) stay(ctx context.Context, wait func(context.Context) (sandbox.Exit, error)) (_ sandbox.Exit, detached bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		exit sandbox.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		exit, err := wait(ctx)
		ended <- end{exit, err}
	}()
	select {
	case e := <-ended:
		return e.exit, false, errors.Join(e.err, s.drain())
	case <-s.detached:
		return sandbox.Exit{}, true, nil
	}
}

// giveBack returns the program's terminal for the keeper to take over, of which no more is read here; nothing if it is held.
func (s *session) giveBack() []*os.File {
	if s.direct == nil {
		return nil
	}
	_ = s.direct.SetReadDeadline(time.Unix(1, 0))
	s.outputs.Wait()
	return []*os.File{s.direct}
}

// drain waits until all output has been passed on.
func (s *session) drain() error {
	s.outputs.Wait()
	if err := s.lost.Load(); err != nil {
		return fmt.Errorf("pass the output on: %w", *err)
	}
	return nil
}

// interruptibleFile takes a file over whose reads a deadline can end.
func interruptibleFile(file *os.File) (*os.File, error) {
	defer file.Close()
	copied := -1
	err := handle.Control(file, func(fd int) (err error) {
		if copied, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.SetNonblock(copied, true)
	})
	if err != nil {
		return nil, fmt.Errorf("take the terminal over: %w", err)
	}
	return os.NewFile(uintptr(copied), "terminal"), nil
}

func sameOpenFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

func (s *session) close() {
	s.started()
	s.restore()
}
