package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestASignalEndsAStartThatIsUnderWay(t *testing.T) {
	s := catchSignals()
	defer s.stop()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stop := s.cancelOn(cancel)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was cancelled")
	}
	stop()
	var interrupted interruptedError
	if err := context.Cause(ctx); !errors.As(err, &interrupted) || interrupted.signal != syscall.SIGTERM {
		t.Errorf("got %v", err)
	}
}

func TestAfterTheStartSignalsAreForTheProgram(t *testing.T) {
	s := catchSignals()
	defer s.stop()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s.cancelOn(cancel)()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-s.ch:
		if got != syscall.SIGUSR1 || ctx.Err() != nil {
			t.Errorf("got %v, %v", got, ctx.Err())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the signal is lost")
	}
}

func TestRunExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{sandbox.Errorf(sandbox.CodeNoProgram, "x"), 127},
		{fmt.Errorf("run: %w", sandbox.Errorf(sandbox.CodeNotExecutable, "x")), 126},
		{sandbox.Errorf(sandbox.CodeUnknownUser, "x"), 125},
		{sandbox.Errorf(sandbox.CodeNotFound, "x"), 125},
		{errors.New("x"), 125},
		{interruptedError{syscall.SIGINT}, 130},
		{fmt.Errorf("start: %w", interruptedError{syscall.SIGTERM}), 143},
	} {
		if got := runExitCode(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
}
