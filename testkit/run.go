package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox"
)

// run is one execution of a container's program.
type run struct {
	started atomic.Bool
	alive   context.Context // ends with the program, with an [*ExitedError] as its cause
	end     context.CancelCauseFunc
	once    sync.Once
	exit    sandbox.Exit
	err     error
	outputs []*os.File // the ends of its output's pipes that are read
}

func newRun() *run {
	r := &run{}
	r.alive, r.end = context.WithCancelCause(context.Background())
	return r
}

// finish says how the program ended, the first time that it is called.
func (r *run) finish(exit sandbox.Exit, err error) {
	r.once.Do(func() {
		r.exit, r.err = exit, err
		if err == nil {
			err = &ExitedError{Exit: exit}
		}
		r.end(err)
	})
}

func (r *run) hasEnded() bool { return r.alive.Err() != nil }

func (r *run) isRunning() bool { return r.started.Load() && !r.hasEnded() }

// ExitedError says that the program has ended where it should be running.
type ExitedError struct {
	Exit sandbox.Exit
}

// Error returns how the program ended.
func (e *ExitedError) Error() string { return "the program " + exitText(e.Exit) }

// launch starts the program, waits until the container is ready, and calls the hooks before and after.
func (c *Container) launch(ctx context.Context) error {
	if err := c.copyFiles(ctx); err != nil {
		return c.startError(err)
	}
	if err := c.callHooks(ctx, "BeforeStart", c.settings.beforeStart); err != nil {
		return c.startError(err)
	}
	return c.startAndAwait(ctx)
}

// startAndAwait starts the program and returns when the container is ready.
func (c *Container) startAndAwait(ctx context.Context) error {
	return c.bringUp(ctx, c.box.Start, c.awaitReady)
}

// starter has a program run with streams.
type starter func(ctx context.Context, s sandbox.Streams) error

// bringUp has the program run and returns when await has, and the AfterReady hooks.
func (c *Container) bringUp(ctx context.Context, start starter, await func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.settings.startTimeout, errStartTimeout)
	defer cancel()
	if err := c.startProgram(limited, start); err != nil {
		return c.startError(causeOf(limited, err))
	}
	if c.settings.oneShot {
		return nil
	}
	if err := await(limited); err != nil {
		return err
	}
	return c.startErrorOf(c.callHooks(ctx, "AfterReady", c.settings.afterReady))
}

func (c *Container) callHooks(ctx context.Context, name string, hooks []Hook) error {
	for _, hook := range hooks {
		if err := hook(ctx, c); err != nil {
			return fmt.Errorf("%s hook: %w", name, err)
		}
	}
	return nil
}

// startProgram has the program run with pipes for its streams.
func (c *Container) startProgram(ctx context.Context, start starter) error {
	p, err := openPipes(c.settings.stdin != nil)
	if err != nil {
		return err
	}
	r := c.current()
	if err := start(ctx, p.theirs); err != nil {
		p.closeAll()
		return err
	}
	r.outputs = []*os.File{p.stdout, p.stderr}
	r.started.Store(true)
	p.closeTheirs()
	c.output.newRun()
	var pumps sync.WaitGroup
	for stream, f := range map[Stream]*os.File{Stdout: p.stdout, Stderr: p.stderr} {
		c.output.opening()
		pumps.Go(func() {
			c.output.pump(stream, f)
			f.Close()
		})
	}
	c.feed(p.stdin)
	go func() {
		exit, err := c.box.Wait(context.Background())
		pumps.Wait()
		r.finish(exit, err)
	}()
	return nil
}

func (c *Container) feed(w *os.File) {
	if w == nil {
		return
	}
	go func() {
		_, _ = io.Copy(w, c.settings.stdin) // ends with the input, or with the program
		_ = w.Close()
	}()
}

// pipes are a program's streams: our ends, and those of the program.
type pipes struct {
	theirs                sandbox.Streams
	stdin, stdout, stderr *os.File
}

func openPipes(stdin bool) (_ *pipes, err error) {
	p := &pipes{}
	defer func() {
		if err != nil {
			p.closeAll()
		}
	}()
	if p.stdout, p.theirs.Stdout, err = openPipe(); err != nil {
		return nil, err
	}
	if p.stderr, p.theirs.Stderr, err = openPipe(); err != nil {
		return nil, err
	}
	if stdin {
		p.theirs.Stdin, p.stdin, err = openPipe()
	}
	return p, err
}

func openPipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil, nil, sandbox.Errorf(sandbox.CodeInternal, "create a pipe for the program's output: %v", err).
			WithRemedy("raise the limit of open files (ulimit -n): this process needs 2 for each container, or start fewer at once")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("create a pipe for the program's output: %w", err)
	}
	return r, w, nil
}

func (p *pipes) closeTheirs() { closeFiles(p.theirs.Stdin, p.theirs.Stdout, p.theirs.Stderr) }

func (p *pipes) closeAll() {
	p.closeTheirs()
	closeFiles(p.stdin, p.stdout, p.stderr)
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
