package sandbox

import (
	"context"
	"os"
	"slices"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// ExecSpec says what to execute in a running container. Its zero value but for Args runs as the container's own program
// does.
type ExecSpec struct {
	// Args are the program, looked for on the container's $PATH unless it has a slash, and its arguments.
	Args []string `json:"args"`
	// Env adds to the container's environment, as NAME=VALUE; the last of a name wins.
	Env []string `json:"env,omitempty"`
	// User is USER[:GROUP] by name or number; empty means the container's.
	User string `json:"user,omitempty"`
	// WorkingDir is an absolute path that exists; empty means the container's.
	WorkingDir string `json:"working_dir,omitempty"`
	// Terminal gives the program a terminal; its other end is [Process.Terminal].
	Terminal *TerminalSize `json:"terminal,omitempty"`
	// Detached has the program go on without this client, until its own end or the container's. Wait returns at once, with an
	// exit code of 0. Not with a terminal, for which there is [Process.Detach].
	Detached bool `json:"detached,omitempty"`
}

// Process is a program that was executed in a running container. Its methods are safe for concurrent use.
type Process struct {
	// PID is the process's number in the container.
	PID int
	// Terminal is the caller's end of the program's terminal, nil without one. The caller closes it.
	Terminal *os.File

	container *Container
	id        uint64 // of the request that started it
	program   *ending
}

// Exec executes another program in the running container, with the confinement of the container's own, and returns when it
// is being executed. The program ends with the container at the latest. When ctx ends before, the program is killed.
//
// Errors: CodeNoProgram, CodeNotExecutable, CodeUnknownUser, CodeUnmappedID, CodeInvalid for a working directory that is
// not there and for a paused container, CodeNotRunning, CodeAlreadyFinished.
func (ct *Container) Exec(ctx context.Context, spec ExecSpec, s Streams) (*Process, error) {
	if err := checkUTF8("execute in container "+ct.Name, slices.Concat(spec.Args, spec.Env, []string{spec.User, spec.WorkingDir})); err != nil {
		return nil, err
	}
	if err := s.notLogged("execute in container " + ct.Name); err != nil {
		return nil, err
	}
	files, err := s.files(spec.Terminal != nil)
	if err != nil {
		return nil, err
	}
	r, m, err := ct.client.requestStart(ctx, KindExec, ExecRequest{ct.request(), spec}, files)
	if err != nil {
		return nil, err
	}
	return ct.executed(r, m)
}

func (ct *Container) executed(r *call, m *wire.Message) (*Process, error) {
	var info ExecInfo
	if m.Kind == KindStarted {
		if err := m.Decode(&info); err != nil {
			m.CloseFiles()
			ct.client.cancel(r)
			return nil, err
		}
	}
	terminal, program, err := ct.client.takeOver(r, m)
	if err != nil {
		return nil, err
	}
	return &Process{PID: info.PID, Terminal: terminal, container: ct, id: r.id, program: program}, nil
}

// Wait blocks until the program has ended. It may be called from many goroutines, and again.
func (p *Process) Wait(ctx context.Context) (Exit, error) { return p.program.wait(ctx) }

// Signal sends a signal to the process.
//
// Errors: CodeAlreadyFinished, CodeInvalid.
func (p *Process) Signal(ctx context.Context, s syscall.Signal) error {
	request := SignalRequest{ContainerRequest: p.container.request(), Process: p.id, Signal: int(s)}
	return p.container.client.ask(ctx, KindSignal, request, nil)
}

// ending is the end of a program that a request has started.
type ending struct {
	finished chan struct{}
	exit     Exit
	err      error
}

// takeOver waits for the end of what the request r has started, in the background, and returns its terminal if it has one.
func (c *Client) takeOver(r *call, m *wire.Message) (*os.File, *ending, error) {
	if m.Kind != KindStarted {
		m.CloseFiles()
		return nil, nil, Errorf(CodeProtocol, "the keeper answered %q to a request to start a program", m.Kind)
	}
	e := c.endingOf(r)
	if len(m.Files) > 0 {
		return m.Files[0], e, nil
	}
	return nil, e, nil
}

func (e *ending) wait(ctx context.Context) (Exit, error) {
	select {
	case <-e.finished:
		return e.exit, e.err
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}
