package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruption is the error of a verb that a signal ended.
type interruption struct {
	signal syscall.Signal
	rest   string // what became of what was begun
}

func (i *interruption) Error() string { return "interrupted; " + i.rest }

// interruptible returns a context that ends, with an [interruption] as its cause, at the first signal that asks the
// program to end. The second one has its usual effect. The user is told what became of the rest of the work. The
// function frees what the context holds.
func interruptible(parent context.Context, rest string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(&interruption{s.(syscall.Signal), rest})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// causeOf returns why ctx ended if that is why err came to be, and else err.
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
