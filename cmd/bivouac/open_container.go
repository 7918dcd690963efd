package main

import (
	"context"
	"errors"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// opened is a container that a verb works on, whoever has it.
type opened struct {
	*sandbox.Container
	status sandbox.Status
	client *sandbox.Client   // a keeper of our own, nil for
	guest  *sandbox.Attached // a connection with another's
}

// close leaves the container as it is: to its keeper, or in the store.
func (o *opened) close() error {
	if o.guest != nil {
		return o.guest.Close()
	}
	return o.client.Close()
}

// openPatience is how long a container that is kept may pass from one keeper to another.
const openPatience = 5 * time.Second

// openContainer finds a container and connects to its keeper, or takes one that is kept and has none over into one of ours,
// which ends with us.
//
// Errors: CodeNotFound; CodeInvalid if several match; those of [sandbox.Client.Open].
func openContainer(ctx context.Context, name string) (*opened, error) {
	return openWith(ctx, name, startClient)
}

// openWith is openContainer with a keeper that start starts where one is needed.
func openWith(ctx context.Context, name string, start func(context.Context) (*sandbox.Client, error)) (*opened, error) {
	st, err := sandbox.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	for late := time.Now().Add(openPatience); ; {
		o, err := openOnce(ctx, st, start)
		if sandbox.CodeOf(err) != sandbox.CodeInUse || time.Now().After(late) {
			return o, err
		}
		select { // its keeper comes or goes
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func openOnce(ctx context.Context, st sandbox.Status, start func(context.Context) (*sandbox.Client, error)) (*opened, error) {
	if !st.Kept {
		a, err := sandbox.Attach(ctx, st.ID)
		if err != nil {
			return nil, err
		}
		return &opened{Container: a.Container, status: a.Status, guest: a}, nil
	}
	a, err := sandbox.AttachKept(ctx, st)
	if err == nil {
		return &opened{Container: a.Container, status: a.Status, guest: a}, nil
	}
	if sandbox.CodeOf(err) != sandbox.CodeNotRunning {
		return nil, err
	}
	client, err := start(ctx)
	if err != nil {
		return nil, err
	}
	c, err := client.Open(ctx, st.ID)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &opened{Container: c, status: st, client: client}, nil
}

// withContainer calls f with a container, wherever it is.
func withContainer(ctx context.Context, name string, f func(*opened) error) (err error) {
	o, err := openContainer(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	return f(o)
}

// withRunning calls f with a container whose program runs, or is paused or about to be started again.
//
// Errors: CodeNotRunning.
func withRunning(ctx context.Context, name, doing string, f func(*sandbox.Attached) error) error {
	a, err := sandbox.Attach(ctx, name)
	if sandbox.CodeOf(err) == sandbox.CodeNotRunning {
		return notRunning(doing, name)
	}
	if err != nil {
		return err
	}
	defer a.Close() //nolint:errcheck // the container goes on whatever becomes of the connection
	if !isUp(a.Status.State) {
		return notRunning(doing, name)
	}
	return f(a)
}

func notRunning(doing, name string) error {
	return sandbox.Errorf(sandbox.CodeNotRunning, "%s container %q: it is not running", doing, name).WithRemedy("start it: bivouac start %s", name)
}
