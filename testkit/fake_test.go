package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// fakeTB is a test whose end can be looked at.
type fakeTB struct {
	name     string
	mu       sync.Mutex
	logs     []string
	fatal    []string
	skipped  []string
	cleanups []func()
	ctx      context.Context
	deadline time.Time
}

func (f *fakeTB) Cleanup(cleanup func()) { f.cleanups = append(f.cleanups, cleanup) }
func (f *fakeTB) Failed() bool           { return len(f.fatal) > 0 }
func (f *fakeTB) Helper()                {}
func (f *fakeTB) Name() string           { return f.name }
func (f *fakeTB) Context() context.Context {
	if f.ctx == nil {
		return context.Background()
	}
	return f.ctx
}
func (f *fakeTB) Deadline() (time.Time, bool) { return f.deadline, !f.deadline.IsZero() }

func (f *fakeTB) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.fatal = append(f.fatal, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (f *fakeTB) Skipf(format string, args ...any) {
	f.skipped = append(f.skipped, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (f *fakeTB) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.logs, "\n")
}

// test runs body as a test, to its end, without its cleanups.
func (f *fakeTB) test(body func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		body()
	}()
	<-done
}

// cleanup ends the test.
func (f *fakeTB) cleanup() {
	for len(f.cleanups) > 0 {
		last := len(f.cleanups) - 1
		run := f.cleanups[last]
		f.cleanups = f.cleanups[:last]
		run()
	}
}

// fakeBox is a container whose program is a function of the test.
type fakeBox struct {
	program func(p *fakeProgram)
	health  func(args []string) int // the exit code of what is executed
	root    fs.FS
	changes []sandbox.Change
	detach  error

	checkpoint func(b *fakeBox, spec sandbox.CheckpointSpec) (sandbox.Snapshot, error)
	start      func() error // fails a start
	resets     int

	mu        sync.Mutex
	last      *fakeProgram
	starts    int
	signals   []syscall.Signal
	opened    atomic.Bool
	discarded bool
	detached  bool
	copied    strings.Builder
}

// fakeProgram is one execution of the program.
type fakeProgram struct {
	stdin, stdout, stderr *os.File
	signals               chan syscall.Signal
	killed                chan struct{}
	done                  chan struct{}
	exit                  sandbox.Exit
	listening             chan struct{} // closed when it listens
	address               string        // of who listens
}

func (b *fakeBox) Start(_ context.Context, s sandbox.Streams) error {
	if b.start != nil {
		if err := b.start(); err != nil {
			return err
		}
	}
	p := &fakeProgram{
		signals: make(chan syscall.Signal, 8), killed: make(chan struct{}), done: make(chan struct{}), listening: make(chan struct{}),
	}
	for _, f := range []struct {
		to   **os.File
		from *os.File
	}{{&p.stdin, s.Stdin}, {&p.stdout, s.Stdout}, {&p.stderr, s.Stderr}} {
		if f.from == nil {
			continue
		}
		fd, err := syscall.Dup(int(f.from.Fd()))
		if err != nil {
			return err
		}
		*f.to = os.NewFile(uintptr(fd), "stream")
	}
	b.mu.Lock()
	b.last, b.starts = p, b.starts+1
	b.mu.Unlock()
	go func() {
		defer close(p.done)
		defer closeFiles(p.stdin, p.stdout, p.stderr)
		b.program(p)
	}()
	return nil
}

func (b *fakeBox) current() *fakeProgram {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *fakeBox) Wait(ctx context.Context) (sandbox.Exit, error) {
	p := b.current()
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
}

func (b *fakeBox) Signal(_ context.Context, s syscall.Signal) error {
	p := b.current()
	if p == nil {
		return sandbox.Errorf(sandbox.CodeNotRunning, "not started")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.signals = append(b.signals, s)
	select {
	case <-p.done:
		return sandbox.Errorf(sandbox.CodeAlreadyFinished, "it has ended")
	default:
	}
	if s == syscall.SIGKILL {
		p.kill()
		return nil
	}
	p.signals <- s
	return nil
}

func (p *fakeProgram) kill() {
	select {
	case <-p.killed:
	default:
		close(p.killed)
	}
}

// run blocks as a program that ignores all signals but SIGKILL.
func (p *fakeProgram) run() {
	<-p.killed
	p.exit = sandbox.Exit{Code: 137, Signal: 9}
}

func (b *fakeBox) Discard(context.Context) error {
	if p := b.current(); p != nil {
		p.kill()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.discarded = true
	return nil
}

func (b *fakeBox) Detach(context.Context, ...*os.File) error {
	b.detached = b.detach == nil
	return b.detach
}

func (b *fakeBox) Pause(context.Context) error  { return nil }
func (b *fakeBox) Resume(context.Context) error { return nil }

type fakeProcess struct{ code int }

func (p fakeProcess) Wait(context.Context) (sandbox.Exit, error) {
	return sandbox.Exit{Code: p.code}, nil
}
func (p fakeProcess) Signal(context.Context, syscall.Signal) error { return nil }

func (b *fakeBox) exec(_ context.Context, spec sandbox.ExecSpec, s sandbox.Streams) (process, error) {
	if _, err := fmt.Fprintf(s.Stdout, "ran %s\n", strings.Join(spec.Args, " ")); err != nil {
		return nil, err
	}
	return fakeProcess{b.health(spec.Args)}, nil
}

func (b *fakeBox) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, b.current().address)
}

func (b *fakeBox) AwaitListening(ctx context.Context, _ string, _ uint16) error {
	p := b.current()
	select {
	case <-p.listening:
		return nil
	case <-p.done:
		return sandbox.Errorf(sandbox.CodeAlreadyFinished, "the program has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *fakeBox) OpenPorts(context.Context) error {
	b.opened.Store(true)
	return nil
}

func (b *fakeBox) Listening(context.Context) ([]sandbox.Listener, error) {
	return []sandbox.Listener{{Protocol: "tcp", IP: "0.0.0.0", Port: 6380}}, nil
}

func (b *fakeBox) Processes(context.Context) ([]sandbox.ProcessInfo, error) {
	return []sandbox.ProcessInfo{
		{PID: 1, Args: []string{"server", "--name", "a b"}, State: "S"}, {PID: 7, PPID: 1, Args: []string{"worker"}, State: "R"},
	}, nil
}

func (b *fakeBox) Stats(context.Context) (sandbox.Stats, error) { return sandbox.Stats{}, nil }

func (b *fakeBox) FS(context.Context) fs.FS {
	if b.root == nil {
		return fstest.MapFS{}
	}
	return b.root
}

func (b *fakeBox) CopyTo(_ context.Context, _ string, tar io.Reader) error {
	_, err := io.Copy(&b.copied, tar)
	return err
}

func (b *fakeBox) CopyFrom(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("nothing there")
}

func (b *fakeBox) Checkpoint(_ context.Context, spec sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
	return b.checkpoint(b, spec)
}

func (b *fakeBox) Reset(ctx context.Context, s sandbox.Streams) error {
	b.resets++
	return b.Start(ctx, s)
}

func (b *fakeBox) Changes(context.Context) ([]sandbox.Change, error) { return b.changes, nil }

// made makes a container of a fake, which is closed after the test.
func made(t *testing.T, b *fakeBox, opts ...Option) *Container {
	t.Helper()
	s, err := collect("image:1", opts)
	if err != nil {
		t.Fatal(err)
	}
	if b.program == nil {
		b.program = (*fakeProgram).run
	}
	info := sandbox.Info{ID: strings.Repeat("ab", 32), Name: "abababababab", StopSignal: 15}
	for i, p := range s.spec.Publish {
		p.HostPort = uint16(40000 + i)
		info.Ports = append(info.Ports, p)
	}
	c := newContainer(b, info, s)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// prints makes a program that prints and then ends with a code.
func prints(code int, lines ...string) func(*fakeProgram) {
	return func(p *fakeProgram) {
		for _, line := range lines {
			fmt.Fprintln(p.stdout, line)
		}
		p.exit = sandbox.Exit{Code: code}
	}
}

// expectError fails the test unless err has all parts.
func expectError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}
