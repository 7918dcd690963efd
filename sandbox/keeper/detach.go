package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// attach gives a guest its door's container.
func (s *server) attach(_ context.Context, _ *keeper, m *wire.Message) outcome {
	if s.door == nil {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "attach: this socket is no container's")}
	}
	status, err := s.door.c.status()
	if err != nil {
		return outcome{err: err}
	}
	s.remember(m.ID, s.door.c)
	return outcome{body: status}
}

func (c *container) status() (sandbox.Status, error) {
	st := sandbox.Status{Info: c.info(), State: sandbox.StateCreated, Created: c.created, Volumes: c.volumeMounts()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.discarding {
		return st, c.gone("attach to")
	}
	if c.record != nil {
		c.record.tell(&st)
		return st, nil
	}
	p := c.last
	if p == nil {
		return st, nil
	}
	st.State, st.Started, st.Health = sandbox.StateRunning, p.began, c.health
	if p.hasEnded() {
		st.State, st.Exit, st.Finished = sandbox.StateExited, p.exit, p.finished
	} else if c.isPaused() {
		st.State = sandbox.StatePaused
	}
	return st, nil
}

// waitForEnd answers when the program that was started last has ended.
func (c *container) waitForEnd(ctx context.Context, _ sandbox.WaitRequest) (any, error) {
	c.mu.Lock()
	p := c.last
	c.mu.Unlock()
	if p == nil {
		return nil, sandbox.Errorf(sandbox.CodeNotRunning, "wait for container %s: its program was not started", c.displayName())
	}
	if p.hasEnded() && p.restart != nil && !p.restart.isDone() { // it is about to be started again
		select {
		case <-p.restart.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		c.mu.Lock()
		p = cmp.Or(p.next, p)
		c.mu.Unlock()
	}
	for p != nil {
		select {
		case <-p.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		exit, err := p.exit, p.err
		if p = c.successor(p); p == nil {
			return exit, err
		}
	}
	return nil, nil
}

// detach makes the container outlive the caller. The message's files are outputs of its program to be read on.
func (s *server) detach(_ context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.DetachRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Container)
	if err != nil {
		return outcome{err: err}
	}
	if r.Process != 0 {
		return outcome{err: c.detachSession(r.Process, m)}
	}
	if err := errors.Join(k.openDoor(c), c.outlive()); err != nil {
		return outcome{err: err}
	}
	if err := c.readOn(m, r.Terminal); err != nil {
		return outcome{err: err}
	}
	if err := leaveCaller(); err != nil {
		return outcome{err: err}
	}
	go c.retire() // its program may have ended already
	return outcome{}
}

// readOn has the keeper take the outputs over that the message brought, or the terminal.
func (c *container) readOn(m *wire.Message, terminal bool) error {
	if len(m.Files) == 0 {
		return nil
	}
	if err := c.holdOn(m.Files, terminal); err != nil {
		return err
	}
	m.Files = nil
	return nil
}

// outlive counts the container among the detached ones.
func (c *container) outlive() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.discarding {
		return c.gone("detach")
	}
	if !c.detached {
		c.detached = true
		c.k.doors.detached.Add(1)
	}
	return nil
}

func (c *container) isPaused() bool { return c.paused.Load() }

func (c *container) isDetached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detached
}

func (c *container) isDiscarding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.discarding
}

// noLongerDetached lets the keeper end if this was the last detached container.
func (c *container) noLongerDetached() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detached {
		c.detached = false
		c.k.doors.detached.Done()
	}
}

// leaveCaller lets go of the caller's directory, which may be unmounted or removed, and of the standard error, whose reader
// goes away with the caller: writing to it then would end the keeper.
func leaveCaller() error {
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("leave the working directory: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the null device: %w", err)
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), int(os.Stderr.Fd()), 0); err != nil {
		return fmt.Errorf("redirect the standard error: %w", err)
	}
	return nil
}

// outliveCaller returns when the last detached container is gone. The caller's other containers end first.
func (s *server) outliveCaller(k *keeper) {
	s.mu.Lock()
	var mortal []uint64
	for id, c := range s.containers {
		if !c.isDetached() {
			mortal = append(mortal, id)
		}
	}
	detached := len(mortal) < len(s.containers)
	s.mu.Unlock()
	if !detached {
		return // the kernel ends the others
	}
	for _, id := range mortal {
		s.letGo(id)
	}
	k.doors.detached.Wait()
	k.doors.dismiss()
}

// dismiss lets every guest get its answers before the keeper ends.
func (ds *doors) dismiss() {
	ds.mu.Lock()
	var guests []*server
	for s := range ds.guests {
		guests = append(guests, s)
	}
	ds.mu.Unlock()
	for _, s := range guests {
		_ = s.conn.CloseRead()
		<-s.left
	}
}
