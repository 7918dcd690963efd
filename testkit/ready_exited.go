package testkit

import (
	"context"
	"errors"
	"fmt"
)

// ExitedStrategy is reached when the program has ended.
type ExitedStrategy struct{ code int }

// Exited is reached when the program has ended with an exit code. Another code is a failure.
func Exited(code int) ExitedStrategy { return ExitedStrategy{code} }

// WaitReady implements [Strategy].
func (e ExitedStrategy) WaitReady(ctx context.Context, c *Container) error {
	r := c.current()
	select {
	case <-r.alive.Done():
	case <-ctx.Done():
		return &seenError{errors.New("the program still runs")}
	}
	if r.err == nil && r.exit.Code == e.code {
		return nil
	}
	return context.Cause(r.alive)
}

// String implements [Strategy].
func (e ExitedStrategy) String() string { return fmt.Sprintf("exit with code %d", e.code) }

func (e ExitedStrategy) traits() traits { return traits{held: true, outlives: true, ends: true} }
