package testkit

import (
	"context"
	"fmt"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// findTimeout bounds the time to find the keeper's executable, which the go command may have to build.
const findTimeout = 5 * time.Minute

// keeper is what all containers of the process run below. It is started when it is first needed, and again when it has
// died: one that the kernel killed for want of memory should not fail every test after it.
type keeper struct {
	start func(ctx context.Context) (engine, error)
	lock  chan struct{} // holds one token while nobody has it

	client engine
	proven bool // the client has made a container
	ever   bool // some client has

	background background
}

var shared = newKeeper(func(ctx context.Context) (engine, error) { return startEngine(ctx, sandbox.Options{}) })

func newKeeper(start func(ctx context.Context) (engine, error)) *keeper {
	k := &keeper{start: start, lock: make(chan struct{}, 1)}
	k.lock <- struct{}{}
	return k
}

// Shutdown ends the keeper that all containers of the process share, and all of these with it. There is no need to: it ends
// with the process. It is for a TestMain that then looks for goroutines and processes that are left. The next container
// starts another keeper.
func Shutdown() error { return shared.shutdown() }

func (k *keeper) shutdown() error {
	k.background.end()
	<-k.lock
	client := k.client
	k.client, k.proven = nil, false
	k.lock <- struct{}{}
	if client == nil {
		return nil
	}
	return client.Close()
}

// create makes a container that does not run yet.
func (k *keeper) create(ctx context.Context, s *settings) (c *Container, err error) {
	err = k.do(ctx, func(e engine) error {
		c, err = createWatched(ctx, e, s)
		return err
	})
	return c, err
}

// do does something that makes a container. Where the keeper has died since it last made one, it is done again with
// another.
func (k *keeper) do(ctx context.Context, act func(e engine) error) error {
	for {
		client, proven, err := k.get(ctx)
		if err != nil {
			return err
		}
		if err = act(client); err == nil {
			k.prove(client)
			return nil
		}
		if !hasEnded(client) {
			return err
		}
		ever := k.forget(client)
		if !proven {
			return diedAfter(err, ever)
		}
	}
}

// diedAfter makes sure that the end of a keeper passes for a machine that cannot run containers only if none ever ran.
func diedAfter(err error, ever bool) error {
	if !ever {
		return err
	}
	return sandbox.Errorf(sandbox.CodeProtocol, "the keeper of this process's containers has died: %v", err).
		WithRemedy("see the kernel's log for what ended it, such as want of memory")
}

// get returns the client, and whether it is known to work.
func (k *keeper) get(ctx context.Context) (engine, bool, error) {
	select {
	case <-k.lock:
		defer func() { k.lock <- struct{}{} }()
	case <-ctx.Done():
		return nil, false, fmt.Errorf("wait for the keeper to be started: %w", context.Cause(ctx))
	}
	if k.client != nil {
		return k.client, k.proven, nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	client, err := k.start(ctx)
	if err != nil {
		return nil, false, err
	}
	k.client, k.proven = client, false
	return client, false, nil
}

func (k *keeper) prove(client engine) {
	<-k.lock
	defer func() { k.lock <- struct{}{} }()
	k.ever = true
	if k.client == client {
		k.proven = true
	}
}

// forget drops a client that has ended, and tells whether some client ever made a container.
func (k *keeper) forget(client engine) bool {
	<-k.lock
	defer func() { k.lock <- struct{}{} }()
	if k.client == client {
		k.client, k.proven = nil, false
	}
	return k.ever
}

func hasEnded(client engine) bool {
	select {
	case <-client.Ended():
		return true
	default:
		return false
	}
}

// createWatched makes a container, and gives up when nothing happens for the container's start time-out: a large image may
// take its time as long as it makes progress.
func createWatched(ctx context.Context, e engine, s *settings) (*Container, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(s.startTimeout, func() {
		cancel(fmt.Errorf("there was no progress for %v", s.startTimeout))
	})
	defer idle.Stop()
	if err := s.checkVolumes(e); err != nil {
		return nil, err
	}
	b, info, err := e.create(ctx, s.spec, func(sandbox.Progress) { idle.Reset(s.startTimeout) })
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("create the container: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	c := newContainer(b, info, s)
	c.engine = e
	return c, nil
}
