package main

import (
	"context"
	"errors"

	"github.com/bivouac-run/bivouac/sandbox"
)

// startAttached starts a container with its streams connected to ours. It outlives this program however that ends; one that runs
// already is attached to.
func (f *startFlags) startAttached(ctx context.Context, name string) error {
	keys, err := parseDetachKeys(f.detachKeys)
	if err != nil {
		return err
	}
	o, err := openStopped(ctx, name)
	if err != nil {
		return err
	}
	if o == nil {
		return (&attachFlags{noStdin: !f.interactive, sigProxy: true, detachKeys: f.detachKeys}).run(ctx, name)
	}
	started := false
	defer func() {
		if started {
			o.client.Abandon()
			return
		}
		_ = o.close() // it is put back, and why it was not started is known
	}()
	spec, err := o.Config(ctx)
	if err != nil {
		return err
	}
	s, err := newSession(sessionOptions{
		stdin: f.interactive && spec.OpenStdin, stdout: true, stderr: true, terminal: spec.Terminal != nil, held: true, detachKeys: keys,
	})
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.checkTerminal(); err != nil {
		return err
	}
	signals := catchSignals()
	defer signals.stop()
	err = o.startHeld(ctx, s.streams)
	s.started()
	if err != nil {
		return err
	}
	started = true
	go signals.forward(ctx, o.Container)
	if err := s.attachHeld(ctx, o.Container); err != nil {
		return err
	}
	exit, _, err := s.stay(ctx, o.Wait)
	return errors.Join(err, endAs(exit, err))
}

// endAs ends this program as the container's has ended.
func endAs(exit sandbox.Exit, err error) error {
	if err != nil {
		return nil
	}
	return exitError{code: exit.Code}
}
