package testkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Container is a container from its creation until it is discarded. Its methods may be called from any goroutine; after the
// end of the test, or Close, they return an error.
type Container struct {
	box      box
	info     sandbox.Info
	settings *settings
	engine   engine  // whose the box is
	origin   *origin // nil for one that was not made from a checkpoint
	output   *output
	tb       TB // nil outside of tests

	lifecycle  sync.Mutex // held while the program is started, stopped or checkpointed
	mu         sync.Mutex
	run        *run
	closed     bool
	sinks      sync.WaitGroup
	sinksAlive context.Context
	endSinks   context.CancelFunc
}

func newContainer(b box, info sandbox.Info, s *settings) *Container {
	c := &Container{box: b, info: info, settings: s, output: newOutput(logSize), run: newRun()}
	c.startSinks()
	return c
}

// Inspect returns what is known of the container since its creation.
func (c *Container) Inspect() sandbox.Info { return c.info }

// ID returns the container's id, 64 hexadecimal digits.
func (c *Container) ID() string { return c.info.ID }

// Name returns the name that was asked for, or the first digits of the id.
func (c *Container) Name() string { return c.info.Name }

// String returns the image and the name.
func (c *Container) String() string { return c.settings.spec.Image + " (" + c.info.Name + ")" }

// use returns an error once the container is discarded.
func (c *Container) use(verb string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		return nil
	}
	err := sandbox.Errorf(sandbox.CodeAlreadyFinished, "%s %s: the container has been discarded", verb, c)
	if c.tb == nil {
		return err.WithRemedy("close it after its last use")
	}
	return err.WithRemedy("it ends with the test %s, which has to wait for every goroutine that uses it", c.tb.Name())
}

// wrap says what was done when something failed.
func (c *Container) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, c, err)
}

// current returns the program that was started last, or the one that will be first.
func (c *Container) current() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

// Context ends when the program has ended or the container is discarded; its cause says how. After Restart, Context
// returns another.
func (c *Container) Context() context.Context { return c.current().alive }

// ExitCode returns -1 until the program has ended and then its exit code, so that gexec.Exit of Gomega matches a
// container. A program of which the end was never learnt counts as 255.
func (c *Container) ExitCode() int {
	r := c.current()
	switch {
	case !r.hasEnded():
		return -1
	case r.err != nil:
		return 255
	default:
		return r.exit.Code
	}
}

// Wait waits until the program has ended, and all that it printed was read.
func (c *Container) Wait(ctx context.Context) (sandbox.Exit, error) {
	r := c.current()
	select {
	case <-r.alive.Done():
	default:
		if err := c.use("wait for"); err != nil {
			return sandbox.Exit{}, err
		}
	}
	select {
	case <-r.alive.Done():
		return r.exit, c.wrap("wait for", r.err)
	case <-ctx.Done():
		return sandbox.Exit{}, c.wrap("wait for", context.Cause(ctx))
	}
}

// discardTimeout bounds how long the end of a container may take.
const discardTimeout = 15 * time.Second

// Close kills what runs in the container and removes all of it. [Start] has it called after the test. It is idempotent.
func (c *Container) Close() error {
	if c.use("") != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	err := c.stopping(ctx)
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return err
	}
	err = errors.Join(err, c.wrap("discard", c.discard(ctx)))
	c.current().finish(sandbox.Exit{}, errDiscarded)
	c.drainSinks()
	return err
}

var errDiscarded = errors.New("the container was discarded")

// discard ends the container. That its keeper has gone has ended it as well.
func (c *Container) discard(ctx context.Context) error {
	err := c.box.Discard(ctx)
	if sandbox.CodeOf(err) == sandbox.CodeProtocol || sandbox.CodeOf(err) == sandbox.CodeUnsupported {
		return nil
	}
	return err
}

// stopping calls the hooks for the end of a program that runs.
func (c *Container) stopping(ctx context.Context) error {
	r := c.current()
	if !r.isRunning() {
		return nil
	}
	for _, hook := range c.settings.beforeStop {
		if err := hook(ctx, c); err != nil {
			return fmt.Errorf("BeforeStop hook of %s: %w", c, err)
		}
	}
	return nil
}
