package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/bivouac-run/bivouac/sandbox"
)

// runDetached starts a container that stays when this program ends, and prints its id. Until then a signal, or a failure, ends
// all that was begun; but one that is kept stays, as created, where its program cannot be started.
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
	if !spec.Keep {
		defer client.Abandon()
		return causeOf(ctx, f.runDiscarded(ctx, client, out, spec))
	}
	c, err := f.createIn(ctx, client, out, spec)
	if err != nil {
		client.Abandon()
		return causeOf(ctx, err)
	}
	f.tell(c)
	if err := f.startDetached(ctx, c); err != nil {
		_ = client.Close() // which waits until the container is in the store
		return causeOf(ctx, err)
	}
	client.Abandon()
	return nil
}

// runDiscarded starts a container that is not kept: nothing is left of it where its program cannot be started.
func (f *runFlags) runDiscarded(ctx context.Context, client *sandbox.Client, out io.Writer, spec *sandbox.Spec) error {
	id, err := f.more.openIDFile()
	if err != nil {
		return err
	}
	defer id.close()
	report, finish := newProgress(os.Stderr, f.quiet)
	c, err := client.Create(ctx, *spec, report)
	finish()
	if err != nil {
		return err
	}
	if err := f.startDetached(ctx, c); err != nil {
		return err
	}
	f.tell(c)
	if err := id.write(c.ID); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, c.ID)
	return err
}

func (f *runFlags) startDetached(ctx context.Context, c *sandbox.Container) error {
	if err := c.Start(ctx, sandbox.Streams{Held: true}); err != nil {
		return err
	}
	return leaveRunning(ctx, c, f.rm)
}
