package testkit

import (
	"context"
	"errors"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Signal sends a signal to the container's first process. The kernel drops those that it has no handler for, but for
// SIGKILL and SIGSTOP, unless the container was started with [Init].
func (c *Container) Signal(ctx context.Context, s syscall.Signal) error {
	if err := c.use("signal"); err != nil {
		return err
	}
	return c.wrap("signal", c.box.Signal(ctx, s))
}

// Stop asks the program to end with its stop signal, and kills it when it has not ended within [StopGrace], or when ctx
// ends. It returns when the program has ended, and does nothing where it has before. The container's files stay.
func (c *Container) Stop(ctx context.Context) error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	return c.stop(ctx, true)
}

// Kill kills everything that runs in the container and returns when it has ended. The container's files stay.
func (c *Container) Kill(ctx context.Context) error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	return c.stop(ctx, false)
}

func (c *Container) stop(ctx context.Context, ask bool) error {
	if err := c.use("stop"); err != nil {
		return err
	}
	r := c.current()
	if !r.isRunning() {
		return nil
	}
	err := c.stopping(ctx)
	if ask && c.settings.stopGrace > 0 && c.ask(ctx, r) {
		return err
	}
	return errors.Join(err, c.wrap("kill", c.kill(r)))
}

// ask asks the program to end and tells whether it did.
func (c *Container) ask(ctx context.Context, r *run) bool {
	ctx, cancel := context.WithTimeout(ctx, c.settings.stopGrace)
	defer cancel()
	if c.box.Signal(ctx, syscall.Signal(c.info.StopSignal)) != nil {
		return false
	}
	select {
	case <-r.alive.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

// kill ends the program even when the caller's time is over.
func (c *Container) kill(r *run) error {
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	if err := c.box.Signal(ctx, syscall.SIGKILL); err != nil && !isOver(err) {
		return err
	}
	select {
	case <-r.alive.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isOver tells whether an error says that the program has ended anyway.
func isOver(err error) bool {
	code := sandbox.CodeOf(err)
	return code == sandbox.CodeAlreadyFinished || code == sandbox.CodeNotRunning
}

// Restart stops the program as [Container.Stop] does, starts it again and returns when the container is ready. Files and
// ports stay. The options' AfterReady hooks are called again.
func (c *Container) Restart(ctx context.Context) error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if err := c.stop(ctx, true); err != nil {
		return err
	}
	c.mu.Lock()
	c.run = newRun()
	c.mu.Unlock()
	return c.startAndAwait(ctx)
}

// Pause stops every process of the container where it is, until [Container.Resume].
func (c *Container) Pause(ctx context.Context) error {
	if err := c.use("pause"); err != nil {
		return err
	}
	return c.wrap("pause", c.box.Pause(ctx))
}

// Resume lets a paused container go on.
func (c *Container) Resume(ctx context.Context) error {
	if err := c.use("resume"); err != nil {
		return err
	}
	return c.wrap("resume", c.box.Resume(ctx))
}
