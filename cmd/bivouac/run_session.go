package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bivouac-run/bivouac/sandbox"
)

// session connects our own standard streams with the program's, by pipes or by a terminal. The program never gets our
// files themselves: it could read keystrokes from a terminal, or change the owner of a file.
type session struct {
	streams sandbox.Streams // what the container gets
	theirs  []io.Closer     // our copies of it
	outputs sync.WaitGroup
	input   io.WriteCloser // the other end of the program's stdin, nil if it has none
	restore func()
	lost    atomic.Pointer[error] // why output could not be passed on

	interactive bool
}

func (f *runFlags) setTerminal(s *sandbox.Spec) error {
	if !f.tty {
		return nil
	}
	if f.interactive && !f.detach && !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("--tty: the input is not a terminal; leave out -t, or -i")
	}
	s.Terminal = &sandbox.TerminalSize{}
	if columns, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		s.Terminal.Rows, s.Terminal.Columns = uint16(rows), uint16(columns)
	}
	return nil
}

func (f *runFlags) openSession(spec *sandbox.Spec) (*session, error) {
	s := &session{restore: func() {}, interactive: f.interactive}
	if spec.Terminal != nil {
		return s, nil
	}
	var err error
	if s.streams.Stdout, err = s.output(os.Stdout); err != nil {
		return nil, err
	}
	if s.streams.Stderr = s.streams.Stdout; !sameOpenFile(os.Stdout, os.Stderr) { // one pipe keeps the order
		if s.streams.Stderr, err = s.output(os.Stderr); err != nil {
			return nil, err
		}
	}
	if f.interactive {
		s.streams.Stdin, err = s.pipeInput()
	}
	return s, err
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
	if w := s.input; w != nil {
		s.input = nil
		go func() {
			_, _ = io.Copy(w, os.Stdin) // ends with our input, or with the program's
			_ = w.Close()
		}()
	}
}

// attach connects the program's terminal, if it has one. Until then our own terminal works as ever: it shows the progress
// of a pull, and Ctrl-C ends that.
func (s *session) attach(terminal *os.File) error {
	if terminal == nil {
		return nil
	}
	resize(terminal)
	go followSize(terminal)
	s.outputs.Go(func() {
		_, _ = io.Copy(os.Stdout, terminal) // EIO when the last program of the terminal is gone
	})
	if !s.interactive {
		return nil
	}
	go func() { _, _ = io.Copy(terminal, os.Stdin) }()
	return s.enterRaw()
}

// enterRaw hands every keystroke to the program's terminal.
func (s *session) enterRaw() error {
	fd := int(os.Stdin.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	s.restore = func() { _ = term.Restore(fd, old) }
	return nil
}

func followSize(terminal *os.File) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	for range changes {
		resize(terminal)
	}
}

func resize(terminal *os.File) {
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, size)
	}
}

// drain waits until all output has been passed on.
func (s *session) drain() error {
	s.outputs.Wait()
	if err := s.lost.Load(); err != nil {
		return fmt.Errorf("pass the output on: %w", *err)
	}
	return nil
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
