package sandbox

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// Streams are a program's standard streams. Nil means the null device. With Spec.Terminal they are not used.
// The container gets the files themselves: hand over pipes where the program must not touch the file behind.
type Streams struct {
	Stdin, Stdout, Stderr *os.File
}

// Container is a running or ended program.
type Container struct {
	Started
	// Terminal is the caller's end of the program's terminal, nil without one. The caller closes it.
	Terminal *os.File

	client *Client
	run    *call

	finished chan struct{}
	exit     Exit
	err      error
}

// Run starts a container and returns when its program is being executed.
//
// Errors: those of [Client.Pull]; CodeNoProgram, CodeNotExecutable, CodeUnknownUser, CodeMount, CodeLimits, CodeInvalid,
// CodeNameInUse, CodeUnsupported.
func (c *Client) Run(ctx context.Context, spec Spec, s Streams, progress func(Progress)) (*Container, error) {
	if err := spec.checkText(); err != nil {
		return nil, err
	}
	files, err := s.files(spec.Terminal != nil)
	if err != nil {
		return nil, err
	}
	run, err := c.request(KindRun, RunRequest{Spec: spec}, files...)
	if err != nil {
		return nil, err
	}
	m, err := c.skipProgress(ctx, run, progress)
	if err != nil {
		return nil, err
	}
	return c.started(run, m)
}

var nullDevice = sync.OnceValues(func() (*os.File, error) { return os.OpenFile(os.DevNull, os.O_RDWR, 0) })

func (s Streams) files(terminal bool) ([]*os.File, error) {
	if terminal {
		return nil, nil
	}
	files := []*os.File{s.Stdin, s.Stdout, s.Stderr}
	for i, f := range files {
		if f != nil {
			continue
		}
		null, err := nullDevice()
		if err != nil {
			return nil, fmt.Errorf("open the null device: %w", err)
		}
		files[i] = null
	}
	return files, nil
}

func (c *Client) started(run *call, m *wire.Message) (*Container, error) {
	if m.Kind != KindStarted {
		return nil, Errorf(CodeProtocol, "the keeper answered %q to a request to run", m.Kind)
	}
	ct := &Container{client: c, run: run, finished: make(chan struct{})}
	if err := m.Decode(&ct.Started); err != nil {
		return nil, err
	}
	if len(m.Files) > 0 {
		ct.Terminal = m.Files[0]
	}
	go ct.await()
	return ct, nil
}

func (ct *Container) await() {
	defer close(ct.finished)
	m, err := ct.client.next(context.Background(), ct.run)
	if err == nil {
		err = m.Decode(&ct.exit)
	}
	ct.err = err
}

// Wait blocks until the program has ended. It may be called from many goroutines, and again.
func (ct *Container) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-ct.finished:
		return ct.exit, ct.err
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Signal sends a signal to the container's first process. The kernel drops signals to a pid 1 that has no handler for
// them, but for SIGKILL and SIGSTOP.
//
// Errors: CodeAlreadyFinished.
func (ct *Container) Signal(ctx context.Context, s syscall.Signal) error {
	r, err := ct.client.request(KindSignal, SignalRequest{Run: ct.run.id, Signal: int(s)})
	if err != nil {
		return err
	}
	_, err = ct.client.next(ctx, r)
	return err
}
