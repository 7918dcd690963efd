package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Result is how a command ended and what it printed.
type Result struct {
	// Code is the exit code, or 128 and the number of the signal that killed the program.
	Code int
	// Stdout and Stderr are what it printed; of what [Run] ran the last 8 MiB of both together.
	Stdout, Stderr []byte
	// Exit has the rest of how it ended.
	Exit sandbox.Exit
	// Dropped is how many bytes at the beginning of the output of what [Run] ran are missing, because it was more.
	Dropped int64
}

// String returns the standard output without the ends of lines after it.
func (r Result) String() string { return string(bytes.TrimRight(r.Stdout, "\n")) }

// Err returns nil for exit code 0, and otherwise an error with the last lines of what was printed.
func (r Result) Err() error {
	if r.Code == 0 {
		return nil
	}
	text := lastLines(r.Stderr, 10)
	if text == "" {
		text = lastLines(r.Stdout, 10)
	}
	return errors.New(strings.TrimSuffix(exitText(r.Exit)+": "+text, ": "))
}

// exitText says how a program ended.
func exitText(e sandbox.Exit) string {
	switch {
	case e.OOMKilled:
		return fmt.Sprintf("exited with code %d, killed for its memory limit", e.Code)
	case e.Signal != 0:
		return fmt.Sprintf("was killed by signal %d (exit code %d)", e.Signal, e.Code)
	default:
		return fmt.Sprintf("exited with code %d", e.Code)
	}
}

var errRunTimeout = errors.New("the command has not ended in time")

func runOnce(ctx context.Context, image string, args []string, opts []Option) (_ Result, err error) {
	c, err := create(ctx, image, append([]Option{oneShot(args)}, opts...))
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.launch(ctx); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.settings.startTimeout, errRunTimeout)
	defer cancel()
	exit, err := c.Wait(ctx)
	if err != nil {
		return Result{}, c.startError(fmt.Errorf("%w after %v", causeOf(ctx, err), c.settings.startTimeout))
	}
	return Result{
		Code: exit.Code, Exit: exit, Stdout: c.output.bytes(Stdout), Stderr: c.output.bytes(Stderr), Dropped: c.output.droppedBytes(),
	}, nil
}

func oneShot(args []string) Option {
	return func(s *settings) {
		s.oneShot = true
		if args != nil {
			s.spec.Args = args
		}
	}
}

// causeOf returns why ctx ended if it has, and otherwise err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
