package keeper

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// bindEarly takes the ports of a container that is not kept; those of others are taken by each start.
func (c *container) bindEarly() error {
	if c.record != nil {
		return nil
	}
	return c.bindPorts()
}

// prepareStart makes a container that is kept reachable, and puts on record that it runs, before its program is told to.
func (c *container) prepareStart(began time.Time) error {
	if c.record == nil {
		return nil
	}
	if c.ports.Load() == nil {
		if err := c.bindPorts(); err != nil {
			return err
		}
	}
	if err := c.k.openDoor(c); err != nil {
		return fmt.Errorf("make container %s reachable: %w", c.displayName(), err)
	}
	sockets, err := sandbox.RuntimeDir()
	if err != nil {
		return err
	}
	c.mu.Lock()
	restarts := c.restarts
	c.mu.Unlock()
	return c.record.change(func(s *sandbox.RecordState) {
		*s = sandbox.RecordState{State: sandbox.StateRunning, Started: began, Restarts: restarts, Ports: c.boundPorts(), Sockets: sockets, Health: s.Health}
	})
}

// startFailed puts on record why the program could not be started.
func (c *container) startFailed(before sandbox.RecordState, err error) {
	if c.record == nil {
		return
	}
	_ = c.releasePorts()
	_ = c.record.change(func(s *sandbox.RecordState) { // what fails of that, the failure to start tells
		*s = before
		if s.State == sandbox.StateRestarting {
			s.State = sandbox.StateExited
		}
		s.Failure, s.Ports = err.Error(), nil
		switch sandbox.CodeOf(err) {
		case sandbox.CodeNoProgram:
			s.Exit = sandbox.Exit{Code: 127}
		case sandbox.CodeNotExecutable:
			s.Exit = sandbox.Exit{Code: 126}
		default:
			s.Exit = sandbox.Exit{Code: 128}
		}
	})
}

// recordEnd puts a program's end on record, before anybody hears of it, and tells whether and when the policy starts it again.
func (c *container) recordEnd(p *program) (pause time.Duration, again bool) {
	if c.record == nil {
		return 0, false
	}
	c.mu.Lock()
	interrupted := p.interrupted
	if !interrupted {
		pause, again = c.plansRestart(p)
	}
	c.mu.Unlock()
	if interrupted {
		return 0, false // another one takes its place
	}
	state := sandbox.StateExited
	if again {
		state = sandbox.StateRestarting
	} else {
		_ = c.releasePorts()
	}
	c.recordExit(p, state)
	return pause, again
}

func (c *container) recordExit(p *program, state sandbox.State) {
	err := c.record.change(func(s *sandbox.RecordState) {
		s.State, s.Exit, s.Finished, s.Failure, s.Health = state, p.exit, p.finished, "", nil
		if p.err != nil {
			s.Lost(p.err.Error(), p.finished)
		}
		if state == sandbox.StateExited {
			s.Ports = nil
		}
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "bivouac: %v\n", err)
	}
}

// afterEnd is what comes after a program's end has been told.
func (c *container) afterEnd(p *program, pause time.Duration, again bool) {
	switch {
	case c.record == nil:
	case again:
		go c.restartAfter(p, pause)
	default:
		go func() {
			if c.successor(p) == nil {
				c.endForGood(p)
			}
		}()
	}
}

// endForGood is for a program whose place no other one has taken.
func (c *container) endForGood(p *program) {
	if p.interrupted { // by a checkpoint that could not start another one, or was not to
		_ = c.releasePorts()
		c.recordExit(p, sandbox.StateExited)
	}
	c.retire()
}

// recordPaused puts on record whether the program is stopped for a while.
func (c *container) recordPaused(paused bool) {
	if c.record == nil {
		return
	}
	_ = c.record.change(func(s *sandbox.RecordState) { // it is paused all the same
		switch {
		case paused && s.State == sandbox.StateRunning:
			s.State = sandbox.StatePaused
		case !paused && s.State == sandbox.StatePaused:
			s.State = sandbox.StateRunning
		}
	})
}

// recordHealth puts on record what the health check has found.
func (c *container) recordHealth(h *sandbox.Health) {
	if c.record == nil {
		return
	}
	_ = c.record.change(func(s *sandbox.RecordState) { // the next check tries again
		if s.State == sandbox.StateRunning || s.State == sandbox.StatePaused {
			s.Health = h
		}
	})
}

// recordSpec changes what the container was asked to be.
func (c *container) recordSpec(change func(*sandbox.Spec)) error {
	if c.record != nil {
		if err := c.record.rewrite(func(f *sandbox.RecordFixed) { change(&f.Spec) }); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c.spec)
	return nil
}

// retire puts a container that is kept and detached back into the store once its program has ended and nobody asks for anything.
func (c *container) retire() {
	if c.record == nil || !c.isDetached() {
		return
	}
	<-c.k.callerLeft
	for c.k.doors.awaitNobody(c) {
		if c.isIdle() {
			_ = c.putDown() // what fails of that ends with the keeper
			return
		}
		if !c.hasEnded() {
			return // its next end comes here again
		}
	}
}

// isIdle tells whether nothing runs or is asked for, and keeps it so.
func (c *container) isIdle() bool {
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.k.doors.visited(c) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.discarding || c.last == nil || !c.last.hasEnded() || c.last.restart != nil && !c.last.restart.isDone() {
		return false
	}
	c.discarding = true
	return true
}

// stop has the program end, by force after a time.
func (c *container) stop(ctx context.Context, r sandbox.StopRequest) (any, error) {
	c.giveUpRestart()
	p, err := c.running("stop")
	if sandbox.CodeOf(err) == sandbox.CodeAlreadyFinished && !c.isDiscarding() {
		return c.waitForEnd(ctx, sandbox.WaitRequest{ContainerRequest: r.ContainerRequest})
	}
	if err != nil {
		return nil, err
	}
	signal := r.Stop.Signal
	if signal == 0 {
		signal = c.proc.stopSignal
	}
	if signal != int(unix.SIGKILL) { // with it, that is to kill
		defer c.emit("stop")
	}
	if r.Stop.Grace == 0 {
		c.emit("kill", "signal", strconv.Itoa(int(unix.SIGKILL)))
		p.kill()
		return p.exit, p.err
	}
	if err := c.ask(ctx, p, signal); err != nil {
		return nil, err
	}
	var late <-chan time.Time
	if r.Stop.Grace > 0 {
		timer := time.NewTimer(r.Stop.Grace)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-p.ended:
	case <-late:
		c.emit("kill", "signal", strconv.Itoa(int(unix.SIGKILL)))
		p.kill()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return p.exit, p.err
}

// ask sends a program a signal, which it takes also if it was paused.
func (c *container) ask(ctx context.Context, p *program, signal int) error {
	if _, err := c.signal(ctx, sandbox.SignalRequest{Signal: signal}); err != nil && sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
		return err
	}
	if !c.isPaused() {
		return nil
	}
	if _, err := c.resume(ctx, sandbox.PauseRequest{}); err != nil && !p.hasEnded() {
		return err
	}
	return nil
}

func (c *container) tellStatus(context.Context, sandbox.StatusRequest) (any, error) {
	return c.status()
}

func (c *container) tellConfig(context.Context, sandbox.StatusRequest) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spec := *c.spec
	spec.Name = c.givenName()
	return spec, nil
}
