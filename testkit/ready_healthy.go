package testkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// HealthyStrategy is reached when the image's own health check succeeds.
type HealthyStrategy struct{}

// Healthy is reached when the health check of the image (HEALTHCHECK of a Dockerfile) succeeds. It fails when the check has
// failed as often in a row as its retries say, at its interval and after its start period, with Docker's defaults. Unlike
// Docker it runs the check at once and in between, so that a quick program does not wait for a long interval.
func Healthy() HealthyStrategy { return HealthyStrategy{} }

// Docker's defaults (docs.docker.com/reference/dockerfile, HEALTHCHECK).
const (
	healthInterval = 30 * time.Second
	healthTimeout  = 30 * time.Second
	healthRetries  = 3
)

// healthPause is how long we wait at most before the check is run again.
const healthPause = 250 * time.Millisecond

// WaitReady implements [Strategy].
func (h HealthyStrategy) WaitReady(ctx context.Context, c *Container) error {
	check, err := newHealth(c.info.Health)
	if err != nil {
		return err
	}
	for {
		err := check.probe(ctx, c)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return &seenError{check.lastOr(err)}
		}
		if check.unhealthy(time.Now(), err) {
			return fmt.Errorf("unhealthy: %d checks have failed in a row, the last: %w", check.failed, err)
		}
		select {
		case <-ctx.Done():
			return &seenError{err}
		case <-time.After(min(check.interval, healthPause)):
		}
	}
}

// String implements [Strategy].
func (h HealthyStrategy) String() string { return "the image's health check" }

func (h HealthyStrategy) traits() traits { return traits{held: true} }

// health is a check and what came of it so far.
type health struct {
	args                       []string
	interval, timeout, startup time.Duration
	retries                    int

	began   time.Time
	counted time.Time // when a failure was last counted
	failed  int
	last    error
}

func newHealth(h *sandbox.Healthcheck) (*health, error) {
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "the image has no health check").
			WithRemedy("wait for something else, such as testkit.Port or testkit.Exec")
	}
	check := &health{
		interval: cmp.Or(h.Interval, healthInterval), timeout: cmp.Or(h.Timeout, healthTimeout),
		startup: h.StartPeriod, retries: cmp.Or(h.Retries, healthRetries), began: time.Now(),
	}
	switch {
	case h.Test[0] == "CMD" && len(h.Test) > 1:
		check.args = h.Test[1:]
	case h.Test[0] == "CMD-SHELL" && len(h.Test) == 2:
		check.args = []string{"/bin/sh", "-c", h.Test[1]}
	default:
		return nil, sandbox.Errorf(sandbox.CodeBadImage, "the image's health check is %q, which is none of Docker's forms", h.Test)
	}
	return check, nil
}

// probe runs the check once.
func (h *health) probe(ctx context.Context, c *Container) error {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	result, err := c.ExecWith(ctx, Command{Args: h.args})
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the check has not ended within %v", h.timeout)
	case err != nil:
		return err
	case result.Code != 0:
		return errors.New("the check " + strings.TrimSuffix(exitText(result.Exit)+": "+lastLines(append(result.Stdout, result.Stderr...), 3), ": "))
	}
	return nil
}

// lastOr returns the last failure that was not due to the end of waiting.
func (h *health) lastOr(err error) error {
	if h.last != nil {
		return h.last
	}
	return err
}

// unhealthy counts a failure, once for each interval after the start period.
func (h *health) unhealthy(now time.Time, err error) bool {
	h.last = err
	if now.Sub(h.began) < h.startup || now.Sub(h.counted) < h.interval {
		return false
	}
	h.counted = now
	h.failed++
	return h.failed >= h.retries
}
