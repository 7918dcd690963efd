package keeper

import (
	"context"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Docker's pauses before restarts: each is twice the one before, until the program has run for a while.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Minute
	calmRun    = 10 * time.Second
)

// restart is one that the policy makes after a program's end.
type restart struct {
	done chan struct{} // closed when it was made or given up
	stop chan struct{} // closed to give it up
}

// plansRestart tells whether the policy starts the program again after its end, for how long to wait, and remembers that it is
// so. The caller holds c.mu.
func (c *container) plansRestart(p *program) (pause time.Duration, planned bool) {
	policy := c.spec.Restart
	if c.manual || c.discarding || p.err != nil || c.record == nil {
		return 0, false
	}
	switch policy.Name {
	case sandbox.RestartAlways, sandbox.RestartUnlessStopped:
	case sandbox.RestartOnFailure:
		if p.exit.Code == 0 || policy.MaxRetries > 0 && c.restarts >= policy.MaxRetries {
			return 0, false
		}
	default:
		return 0, false
	}
	if p.finished.Sub(p.began) >= calmRun || c.backoff == 0 {
		c.backoff = firstPause
	} else {
		c.backoff = min(2*c.backoff, lastPause)
	}
	p.restart = &restart{done: make(chan struct{}), stop: make(chan struct{})}
	return c.backoff, true
}

// restartAfter makes a restart when it is due, unless something else happens to the container meanwhile.
func (c *container) restartAfter(p *program, pause time.Duration) {
	defer c.retire() // where nothing was started
	defer close(p.restart.done)
	due := time.NewTimer(pause)
	defer due.Stop()
	select {
	case <-due.C:
	case <-p.restart.stop:
	case <-c.life.Done():
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	c.mu.Lock()
	off := c.manual || c.discarding || c.last != p
	started := c.last != p
	c.mu.Unlock()
	if started {
		return
	}
	if off {
		_ = c.releasePorts()
		c.recordExit(p, sandbox.StateExited)
		return
	}
	c.startAgain(p)
}

// startAgain starts the program in the place of p. The caller holds c.starting.
func (c *container) startAgain(p *program) {
	std, err := c.restartStreams()
	if err != nil {
		c.startFailed(c.record.current(), err)
		return
	}
	c.mu.Lock()
	c.restarts++
	c.mu.Unlock()
	next, err := c.beginWith(std, c.beginAlone)
	if err != nil {
		return
	}
	c.mu.Lock()
	p.next = next
	c.mu.Unlock()
}

// restartStreams are the streams of a program that no caller starts.
func (c *container) restartStreams() (*streams, error) {
	return c.streamsFor(startStreams{held: true})
}

// awaitRestart returns what the policy has started in the place of a program that has ended, nil for nothing.
func (c *container) awaitRestart(ctx context.Context, p *program) *program {
	select {
	case <-p.restart.done:
	case <-ctx.Done():
		c.giveUpRestart()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.next
}

// giveUpRestart ends the wait for the next start, and returns once nothing is started any more. A program that runs is none of
// its business.
func (c *container) giveUpRestart() {
	c.mu.Lock()
	p := c.last
	c.manual = true
	var r *restart
	if p != nil && p.restart != nil && !p.restart.isDone() {
		r = p.restart
		select {
		case <-r.stop:
		default:
			close(r.stop)
		}
	}
	c.mu.Unlock()
	if r != nil {
		<-r.done
	}
}

func (r *restart) isDone() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// checkRestart refuses a policy that nobody could follow.
func (c *container) checkRestart(held bool) error {
	if name := c.spec.Restart.Name; held || name == "" || name == sandbox.RestartNo {
		return nil
	}
	return sandbox.Errorf(sandbox.CodeInvalid, "start container %s: with a restart policy its streams are the keeper's", c.displayName()).
		WithRemedy("start it with held streams, or a log")
}

// checkRestartPolicy refuses policies that are none.
func checkRestartPolicy(s *sandbox.Spec) error {
	r := s.Restart
	doing := sandbox.Errorf(sandbox.CodeInvalid, "set restart policy %q", r.Name)
	switch r.Name {
	case "", sandbox.RestartNo:
		if r.MaxRetries != 0 {
			return doing.WithRemedy("a number of retries is for on-failure alone")
		}
		return nil
	case sandbox.RestartAlways, sandbox.RestartUnlessStopped:
		if r.MaxRetries != 0 {
			return doing.WithRemedy("a number of retries is for on-failure alone")
		}
	case sandbox.RestartOnFailure:
		if r.MaxRetries < 0 {
			return doing.WithRemedy("give a number of retries that is not negative")
		}
	default:
		return doing.WithRemedy("use no, always, on-failure[:N] or unless-stopped")
	}
	if !s.Keep {
		return doing.WithRemedy("only containers that are kept are restarted: leave --rm out")
	}
	return nil
}

// waitForGood is waitFor that also waits for what the restart policy starts. When ctx ends, nothing more is started.
func (c *container) waitForGood(ctx context.Context, p *program) (sandbox.Exit, error) {
	for {
		exit, err := p.wait(ctx)
		next := c.successor(p)
		if next == nil && p.restart != nil {
			next = c.awaitRestart(ctx, p)
		}
		if next == nil {
			return exit, err
		}
		p = next
	}
}
