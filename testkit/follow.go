package testkit

import (
	"context"
	"io"
)

// follower reads an output until its end.
type follower struct {
	output *output
	at     cursor
	ctx    context.Context
	cancel context.CancelFunc
}

func (o *output) follow(s Stream) *follower {
	f := &follower{output: o, at: cursor{stream: s}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Read waits for output. It returns io.EOF when the program has ended and all was read, or after Close.
func (f *follower) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.ctx.Err() != nil {
		return 0, io.EOF
	}
	n, _, err := f.output.await(f.ctx, &f.at, p)
	if f.ctx.Err() != nil {
		err = io.EOF
	}
	return n, err
}

// Close makes Read return at once. It never fails.
func (f *follower) Close() error {
	f.cancel()
	return nil
}
