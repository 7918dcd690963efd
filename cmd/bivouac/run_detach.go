package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// runDetached starts a container that stays when this program ends, and prints its id. Until then a signal, or a failure,
// ends all that was begun.
func (f *runFlags) runDetached(ctx context.Context, out io.Writer, spec *sandbox.Spec) error {
	signals := catchSignals()
	defer signals.stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer signals.cancelOn(cancel)()
	client, err := startStaying(ctx)
	if err != nil {
		return err
	}
	defer client.Abandon()
	report, finish := newProgress(os.Stderr, f.quiet)
	c, err := client.Create(ctx, *spec, report)
	finish()
	if err != nil {
		return causeOf(ctx, err)
	}
	if err := f.startDetached(ctx, c); err != nil {
		return causeOf(ctx, err)
	}
	f.tell(c)
	_, err = fmt.Fprintln(out, c.ID)
	return err
}

func (f *runFlags) startDetached(ctx context.Context, c *sandbox.Container) error {
	streams := sandbox.Streams{Log: true}
	if f.interactive && !f.tty {
		stdin, err := openInput()
		if err != nil {
			return err
		}
		defer stdin.Close()
		streams.Stdin = stdin
	}
	if err := c.Start(ctx, streams); err != nil {
		return err
	}
	return leaveRunning(ctx, c, f.rm && f.rmGiven)
}

// detachable is a container whose program runs.
type detachable interface {
	Detach(ctx context.Context, outputs ...*os.File) error
	DiscardAtEnd(ctx context.Context) error
}

// leaveRunning has the container outlive this program, until its own ends if it is to be discarded then.
func leaveRunning(ctx context.Context, c detachable, discard bool) error {
	if err := c.Detach(ctx); err != nil || !discard {
		return err
	}
	return c.DiscardAtEnd(ctx)
}

// openInput returns an input that does not end and never has anything: a pipe that is open for writing wherever it is open
// for reading.
func openInput() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create pipe: %w", err)
	}
	defer r.Close()
	defer w.Close()
	both, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	return both, nil
}

// startStaying is startClient for a keeper that outlives this program. It gets none of the files that were open here when
// this program was started: somebody may wait for their end, or hold a lock by them.
func startStaying(ctx context.Context) (*sandbox.Client, error) {
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil { // Linux 5.11
		closeOnExec()
	}
	return startClient(ctx)
}

func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // then no keeper can be started either
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
