package testkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Strategy says when a container is ready. Those of this package can be copied and used for many containers.
type Strategy interface {
	// WaitReady returns nil when the container is ready, and an error when it can no longer get so. When ctx ends it returns
	// an error that says what it has last seen. ctx ends with the container's program.
	WaitReady(ctx context.Context, c *Container) error
	// String names what is waited for in messages, such as "port 80/tcp".
	String() string
}

// traits are what has to be known of a strategy before it is used. Those of others have none.
type traits struct {
	ports    []sandbox.PortMapping // what has to be published
	outside  []int                 // ports to try from the host once all is ready
	held     bool                  // works while connections through published ports wait
	outlives bool                  // can be reached although the program has ended
	ends     bool                  // is reached by the program's end
	problem  string                // why it can never be reached
}

func traitsOf(s Strategy) traits {
	if d, ok := s.(interface{ traits() traits }); ok {
		return d.traits()
	}
	return traits{}
}

var errStartTimeout = errors.New("not ready in time")

// awaitReady returns when all strategies are reached and the container can be reached from the host.
func (c *Container) awaitReady(ctx context.Context) error {
	return c.awaitAll(ctx, All(c.settings.strategies...))
}

func (c *Container) awaitAll(ctx context.Context, all Strategy) error {
	if err := c.await(ctx, all); err != nil {
		return c.startError(err)
	}
	if c.settings.spec.HoldPorts {
		if err := c.box.OpenPorts(ctx); err != nil && !c.current().hasEnded() {
			return c.startError(fmt.Errorf("open the published ports: %w", causeOf(ctx, err)))
		}
	}
	for _, port := range slices.Compact(slices.Sorted(slices.Values(traitsOf(all).outside))) {
		if err := c.await(ctx, outsidePort(port)); err != nil {
			return c.startError(err)
		}
	}
	return nil
}

// await waits for one strategy, with a context that ends with the program unless the strategy can be reached after that.
func (c *Container) await(ctx context.Context, s Strategy) error {
	r := c.current()
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !traitsOf(s).outlives {
		defer context.AfterFunc(r.alive, func() { cancel(context.Cause(r.alive)) })()
	}
	err := s.WaitReady(waiting, c)
	if err == nil {
		return nil
	}
	var known *waitError
	if errors.As(err, &known) {
		return err
	}
	return &waitError{what: s.String(), why: c.cause(waiting, err), last: lastSeen(err)}
}

// cause finds out why waiting ended. A keeper may tell of the program's end before its output was read.
func (c *Container) cause(ctx context.Context, err error) error {
	if code := sandbox.CodeOf(err); code == sandbox.CodeAlreadyFinished || code == sandbox.CodeNotRunning {
		select {
		case <-c.current().alive.Done():
			return context.Cause(c.current().alive)
		case <-time.After(time.Second):
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// waitError says which strategy was not reached, and why.
type waitError struct {
	what string
	why  error
	last string // what was last seen
}

func (e *waitError) Error() string {
	text := fmt.Sprintf("waiting for %s: %v", e.what, e.why)
	if e.last != "" && !strings.Contains(text, e.last) {
		text += "; last seen: " + e.last
	}
	return text
}

func (e *waitError) Unwrap() error { return e.why }

// seenError is what a strategy has last seen when its context ended.
type seenError struct{ last error }

func (e *seenError) Error() string { return e.last.Error() }

func (e *seenError) Unwrap() error { return e.last }

func lastSeen(err error) string {
	if isOver(err) {
		return ""
	}
	var seen *seenError
	if errors.As(err, &seen) {
		return seen.Error()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	return err.Error()
}

// permanentError cannot be mended by waiting.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error of [Custom]'s function that waiting cannot mend: the container is then given up at once.
func Permanent(err error) error { return &permanentError{err} }

const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// poll calls try until it succeeds, with pauses that grow.
func poll(ctx context.Context, try func(ctx context.Context) error) error {
	var last error
	for pause := firstPause; ; pause = min(pause*3/2, lastPause) {
		err := try(ctx)
		var permanent *permanentError
		if err == nil || errors.As(err, &permanent) {
			return err
		}
		if ctx.Err() == nil || last == nil { // otherwise this try may have been cut short
			last = &seenError{err}
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(pause):
		}
	}
}

// attempt is how long one try of something that should be quick may take.
const attempt = 5 * time.Second

// pollAttempts is poll with a limit of time for each try.
func pollAttempts(ctx context.Context, try func(ctx context.Context) error) error {
	return poll(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		err := try(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v", attempt)
		}
		return err
	})
}
