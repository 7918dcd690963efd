package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"

	"github.com/bivouac-run/bivouac/sandbox"
)

// program is one execution of a container's program, from its start on.
type program struct {
	children *children
	lc       *libcontainer.Container
	first    *libcontainer.Process
	pid      int           // of the first process, in the keeper's pid namespace
	ended    chan struct{} // closed once exit and err are known
	exit     sandbox.Exit
	err      error
	revived  bool // CRIU has brought it
	net      programNetwork

	began, finished time.Time // finished is there once it has ended

	// interrupted tells that a checkpoint ends it, to start next in its place; guarded by the container's mu.
	interrupted bool
	next        *program
	restart     *restart // that the policy makes after its end; set before that is told
}

// begin starts the container's program, for the first time or again after its end. It returns when the program is being
// executed.
func (c *container) begin(stdio []*os.File) (*program, error) {
	c.starting.Lock() // for one start at a time, and for discard to wait for it
	defer c.starting.Unlock()
	c.mu.Lock()
	c.manual, c.restarts, c.backoff = false, 0, 0
	c.mu.Unlock()
	return c.beginAlone(stdio)
}

// beginOnce is begin for streams of the caller's, which last for one run of the program.
func (c *container) beginOnce(stdio []*os.File) (*program, error) {
	if err := c.checkRestart(false); err != nil {
		return nil, err
	}
	return c.begin(stdio)
}

// beginAlone is begin for who holds c.starting.
func (c *container) beginAlone(stdio []*os.File) (*program, error) {
	if err := c.mayStart(); err != nil {
		return nil, err
	}
	c.settle()
	c.exited = nil
	if err := c.useImage(); err != nil {
		return nil, err
	}
	began, before := time.Now(), c.stateOnRecord()
	if err := c.prepareStart(began); err != nil {
		c.startFailed(before, err)
		return nil, err
	}
	c.expectProgram()
	revived := c.asleep
	if err := c.startInTurn(stdio); err != nil {
		c.failed()
		c.disconnectPorts()
		c.startFailed(before, err)
		return nil, err
	}
	pid, err := c.first.Pid()
	if err != nil {
		return nil, fmt.Errorf("start container: %w", err)
	}
	p := &program{children: &c.k.children, lc: c.lc, first: c.first, pid: pid, ended: make(chan struct{}), revived: revived, began: began}
	c.mu.Lock()
	c.last = p
	c.mu.Unlock()
	c.emitVolumes("mount")
	c.began(p)
	go c.await(p, c.exited)
	if err := c.connectPorts(p); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (c *container) startInTurn(stdio []*os.File) error {
	leave, err := c.k.slots.take()
	if err != nil {
		return err
	}
	defer leave()
	defer func() { c.waker.end() }()
	if err := c.start(stdio); err != nil || !c.asleep {
		return err
	}
	if err := c.revive(); err != nil {
		return err
	}
	c.asleep = false
	return nil
}

// failed takes back a start that went wrong.
func (c *container) failed() {
	if c.exited != nil {
		_ = c.first.Signal(syscall.SIGKILL)
		_ = result(c.exited)
	}
	c.closeTerminal()
	c.settle()
}

// settle takes away what an ended program has left, but for files. No session may be starting meanwhile: libcontainer
// does not refuse to execute in a container that is gone, but does it outside of all namespaces.
func (c *container) settle() {
	c.pausing.Lock()
	defer c.pausing.Unlock()
	c.destroy()
	c.paused.Store(false)
	c.stopped = nil
}

func (c *container) mayStart() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.discarding:
		return c.gone("start")
	case c.last != nil && !c.last.hasEnded():
		return sandbox.Errorf(sandbox.CodeInvalid, "start container %s: its program runs", c.displayName()).WithRemedy("wait for its end first")
	}
	return nil
}

// await takes the first process's end.
func (c *container) await(p *program, exited <-chan error) {
	p.exit, p.err = c.exitFrom(<-exited)
	p.finished = time.Now()
	c.finished(p)
	c.leaveNetwork(p)
	c.awaitOutput()
	c.emitVolumes("unmount")
	pause, again := c.recordEnd(p)
	if !again {
		c.unuseImage()
	}
	close(p.ended)
	c.afterEnd(p, pause, again)
}

// exitFrom makes an exit of what waiting for a process returned.
func (c *container) exitFrom(err error) (sandbox.Exit, error) {
	exit := sandbox.Exit{}
	var status *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &status):
		exit = exitOf(status.Sys().(syscall.WaitStatus))
	default:
		return exit, fmt.Errorf("wait for the container: %w", err)
	}
	exit.OOMKilled = c.oomKilled()
	return exit, nil
}

func exitOf(s syscall.WaitStatus) sandbox.Exit {
	if s.Signaled() {
		return sandbox.Exit{Code: 128 + int(s.Signal()), Signal: int(s.Signal())}
	}
	return sandbox.Exit{Code: s.ExitStatus()}
}

// wait returns how the program ended. When ctx ends before, the program is killed.
func (p *program) wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
	}
	return p.exit, p.err
}

// waitFor is wait for a program, or for that which a checkpoint has started in its place.
func (c *container) waitFor(ctx context.Context, p *program) (sandbox.Exit, error) {
	for {
		exit, err := p.wait(ctx)
		next := c.successor(p)
		if next == nil {
			return exit, err
		}
		p = next
	}
}

// successor returns what a checkpoint has started in the place of a program that has ended, nil for nothing.
func (c *container) successor(p *program) *program {
	c.mu.Lock()
	interrupted := p.interrupted
	c.mu.Unlock()
	if !interrupted {
		return nil
	}
	c.starting.Lock() // the checkpoint holds it until the program runs again
	defer c.starting.Unlock()
	return p.next
}

// kill ends the program, and returns when it has ended.
func (p *program) kill() {
	if !p.hasEnded() {
		_ = p.first.Signal(syscall.SIGKILL)
	}
	for {
		select {
		case <-p.ended:
			return
		case <-time.After(deathLimit):
			p.children.reap()
		}
	}
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// running returns the program that runs.
//
// Errors: CodeNotRunning before the first start; CodeAlreadyFinished after the end and while the container is discarded.
func (c *container) running(doing string) (*program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.discarding:
		return nil, c.gone(doing)
	case c.last == nil:
		return nil, sandbox.Errorf(sandbox.CodeNotRunning, "%s container %s: its program was not started", doing, c.displayName())
	case c.last.hasEnded():
		return nil, sandbox.Errorf(sandbox.CodeAlreadyFinished, "%s container %s: its program has ended", doing, c.displayName())
	}
	return c.last, nil
}

func (c *container) gone(doing string) error {
	return sandbox.Errorf(sandbox.CodeAlreadyFinished, "%s container %s: it has been discarded", doing, c.displayName())
}

func (c *container) signal(_ context.Context, r sandbox.SignalRequest) (any, error) {
	if r.Signal < 0 || r.Signal > 64 {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "send signal %d: no such signal", r.Signal)
	}
	if r.Process == 0 && (r.Signal == int(syscall.SIGKILL) || r.Signal == c.proc.stopSignal) {
		c.giveUpRestart() // whoever asks it to end wants no other one
	}
	p, err := c.running("signal")
	if err != nil {
		return nil, err
	}
	target := p.first
	if r.Process != 0 {
		x, ok := c.sessions.Load(r.Process)
		if !ok {
			return nil, sandbox.Errorf(sandbox.CodeAlreadyFinished, "signal a process of container %s: it has ended", c.displayName())
		}
		target = x.(*session).process
	}
	if r.Process == 0 && r.Signal != 0 {
		c.emit("kill", "signal", strconv.Itoa(r.Signal))
	}
	err = target.Signal(syscall.Signal(r.Signal))
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return nil, sandbox.Errorf(sandbox.CodeAlreadyFinished, "signal container %s: the process has ended", c.displayName())
	}
	return nil, err
}
