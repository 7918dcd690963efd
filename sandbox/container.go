package sandbox

import (
	"context"
	"errors"
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
	// Log has the keeper read the outputs, or the terminal's, and keep them for [Container.Logs]: Stdout and Stderr are not
	// used, and there is no Container.Terminal. Only containers' own programs have a log, and not those of [Client.Run].
	Log bool
	// Held has the keeper hold all streams, or the terminal, for [Container.AttachStreams] to connect to while the program runs.
	// Those of Stdin, Stdout and Stderr that are not nil are attached from the start, with a terminal the first two. Log is
	// implied unless the Spec says that there is none.
	Held bool
}

// Container is one container from its creation until it is discarded. Its methods are safe for concurrent use.
type Container struct {
	Info
	// Terminal is the caller's end of the program's terminal, nil without one. Run and each Start set it; the caller closes
	// it.
	Terminal *os.File

	client     *Client
	id         uint64 // of the request that made it
	inTerminal bool

	mu      sync.Mutex
	program *ending // of the program that was started last
}

// Create makes a container that does not run yet: the image is there, its root file system is mounted, and the host's
// ports are bound.
//
// Errors: those of [Client.Pull]; CodeUnknownUser, CodeMount, CodeLimits, CodeInvalid, CodeNameInUse, CodeUnsupported.
func (c *Client) Create(ctx context.Context, spec Spec, progress func(Progress)) (*Container, error) {
	if err := errors.Join(spec.checkText(), spec.takeVolumes(ctx)); err != nil {
		return nil, err
	}
	r, err := c.request(KindCreate, CreateRequest{Spec: spec})
	if err != nil {
		return nil, err
	}
	m, err := c.skipProgress(ctx, r, progress)
	if err != nil {
		return nil, err
	}
	ct := &Container{client: c, id: r.id, inTerminal: spec.Terminal != nil}
	if err := m.Decode(&ct.Info); err != nil {
		return nil, err
	}
	return ct, nil
}

// Run creates a container and returns when its program is being executed. The container is discarded at the program's
// end.
//
// Errors: those of [Client.Create] and [Container.Start].
func (c *Client) Run(ctx context.Context, spec Spec, s Streams, progress func(Progress)) (*Container, error) {
	if err := errors.Join(spec.checkText(), s.notLogged("run "+spec.Image), spec.takeVolumes(ctx)); err != nil {
		return nil, err
	}
	files, err := s.files(spec.Terminal != nil)
	if err != nil {
		return nil, err
	}
	r, err := c.request(KindRun, RunRequest{Spec: spec}, files...)
	if err != nil {
		return nil, err
	}
	m, err := c.skipProgress(ctx, r, progress)
	if err != nil {
		return nil, err
	}
	ct := &Container{client: c, id: r.id, inTerminal: spec.Terminal != nil}
	if m.Kind == KindStarted {
		if err := m.Decode(&ct.Info); err != nil {
			c.cancel(r)
			m.CloseFiles()
			return nil, err
		}
	}
	if err := ct.started(r, m); err != nil {
		return nil, err
	}
	return ct, nil
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

// startFiles are the files of a start, which with held streams are those to attach.
func (s Streams) startFiles(terminal bool) ([]*os.File, error) {
	if !s.Held {
		return s.files(terminal)
	}
	return s.attached()
}

// attached are the files to attach to held streams: none, or both outputs, after the input if there is one.
func (s Streams) attached() ([]*os.File, error) {
	if s.Stdin == nil && s.Stdout == nil && s.Stderr == nil {
		return nil, nil
	}
	files, err := s.files(false)
	if err != nil || s.Stdin != nil {
		return files, err
	}
	return files[1:], nil
}

// Start starts the program of a container that was created, or starts it again after its end; the changed files are then
// as they were left. It returns when the program is being executed. When ctx ends before, the program is killed.
//
// Errors: CodeNoProgram, CodeNotExecutable, CodeMount, CodeInvalid if the program runs, CodeAlreadyFinished after
// Discard.
func (ct *Container) Start(ctx context.Context, s Streams) error {
	files, err := s.startFiles(ct.inTerminal)
	if err != nil {
		return err
	}
	request := StartRequest{ContainerRequest: ct.request(), Log: s.Log, Held: s.Held, Stdin: s.Held && s.Stdin != nil}
	r, m, err := ct.client.requestStart(ctx, KindStart, request, files)
	if err != nil {
		return err
	}
	if err := ct.started(r, m); err != nil {
		return err
	}
	return ct.learn(m)
}

// learn takes over what each start of a container that is kept decides anew.
func (ct *Container) learn(m *wire.Message) error {
	var info Info
	if m.Kind != KindStarted || len(m.Body) == 0 {
		return nil
	}
	if err := m.Decode(&info); err != nil {
		return err
	}
	if info.ID != "" {
		ct.Ports, ct.Warnings = info.Ports, info.Warnings
	}
	return nil
}

// request names the container.
func (ct *Container) request() ContainerRequest { return ContainerRequest{ct.id} }

// started takes the program over that the request r has started.
func (ct *Container) started(r *call, m *wire.Message) error {
	terminal, program, err := ct.client.takeOver(r, m)
	if err != nil {
		return err
	}
	ct.mu.Lock()
	defer ct.mu.Unlock()
	ct.Terminal, ct.program = terminal, program
	return nil
}

// Wait blocks until the program that was started last has ended. It may be called from many goroutines, and again.
//
// Errors: CodeNotRunning before the first start.
func (ct *Container) Wait(ctx context.Context) (Exit, error) {
	ct.mu.Lock()
	program := ct.program
	ct.mu.Unlock()
	if program == nil {
		return Exit{}, Errorf(CodeNotRunning, "wait for the container %s: its program was not started", ct.Name)
	}
	return program.wait(ctx)
}

// Signal sends a signal to the container's first process. The kernel drops signals to a pid 1 that has no handler for
// them, but for SIGKILL and SIGSTOP.
//
// Errors: CodeNotRunning, CodeAlreadyFinished, CodeInvalid.
func (ct *Container) Signal(ctx context.Context, s syscall.Signal) error {
	return ct.client.ask(ctx, KindSignal, SignalRequest{ContainerRequest: ct.request(), Signal: int(s)}, nil)
}

// Pause stops everything that runs in the container until Resume. It is idempotent.
//
// Errors: CodeNotRunning, CodeAlreadyFinished, CodeInternal.
func (ct *Container) Pause(ctx context.Context) error {
	return ct.client.ask(ctx, KindPause, PauseRequest{ct.request()}, nil)
}

// Resume continues what Pause has stopped. It is idempotent.
//
// Errors: CodeNotRunning, CodeAlreadyFinished, CodeInternal.
func (ct *Container) Resume(ctx context.Context) error {
	return ct.client.ask(ctx, KindResume, PauseRequest{ct.request()}, nil)
}

// Discard kills what runs in the container, unmounts its root file system and removes what it left. It returns when all of
// that is done, and is idempotent. Closing the client does the same for all of its containers.
func (ct *Container) Discard(ctx context.Context) error {
	return ct.Remove(ctx, false)
}

// Remove is Discard, and removes with volumes also the anonymous volumes of a container that is kept.
func (ct *Container) Remove(ctx context.Context, volumes bool) error {
	return ct.client.ask(ctx, KindDiscard, DiscardRequest{ct.request(), volumes}, nil)
}
