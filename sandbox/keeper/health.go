package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Docker's defaults and bounds of health checks.
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
	healthLog           = 5    // checks that are remembered
	healthOutput        = 4096 // bytes of a check's output
)

// notRun is the exit code of a check that could not be run, or took too long.
const notRun = -1

// monitor runs a program's health check, and says what that means. Its rules are Docker's: within the start period failures
// do not count until the first success, and checks may be more frequent until then.
type monitor struct {
	check  sandbox.Healthcheck
	began  time.Time // the program
	probe  func(context.Context) sandbox.HealthResult
	paused func() (now bool, times int64) // a check that was under way meanwhile does not count
	report func(h sandbox.Health, changed bool)

	health sandbox.Health
}

// withDefaults fills in what a health check leaves open.
func withDefaults(h sandbox.Healthcheck) sandbox.Healthcheck {
	for value, standard := range map[*time.Duration]time.Duration{
		&h.Interval: healthInterval, &h.Timeout: healthTimeout, &h.StartInterval: healthStartInterval,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	if h.Retries == 0 {
		h.Retries = healthRetries
	}
	return h
}

// run checks until ctx ends.
func (m *monitor) run(ctx context.Context) {
	for {
		timer := time.NewTimer(m.interval())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		paused, before := m.paused()
		if paused {
			continue
		}
		result := m.probe(ctx)
		if ctx.Err() != nil { // it ended with the program
			return
		}
		if _, after := m.paused(); after == before {
			m.take(result)
		}
	}
}

// interval is the time until the next check.
func (m *monitor) interval() time.Duration {
	if m.health.Status == sandbox.HealthStarting && time.Since(m.began) < m.check.StartPeriod {
		return m.check.StartInterval
	}
	return m.check.Interval
}

// take draws the consequences of a check.
func (m *monitor) take(r sandbox.HealthResult) {
	before := m.health.Status
	h := &m.health
	h.Log = append(slices.Clone(h.Log[max(0, len(h.Log)+1-healthLog):]), r) // those who were told of the old list keep it
	switch {
	case r.ExitCode == 0:
		h.Status, h.FailingStreak = sandbox.HealthHealthy, 0
	case h.Status == sandbox.HealthStarting && r.Start.Sub(m.began) < m.check.StartPeriod:
	default:
		if h.FailingStreak++; h.FailingStreak >= m.check.Retries {
			h.Status = sandbox.HealthUnhealthy
		}
	}
	m.report(*h, h.Status != before)
}

// healthcheck is the check that is to be run, nil for none. What the Spec's leaves open is the image's, as with Docker.
func (c *container) healthcheck() *sandbox.Healthcheck {
	check, image := c.spec.Health, healthcheck(c.image.RawConfig)
	switch {
	case check == nil:
		check = image
	case image != nil:
		check = overlaid(*check, image)
	}
	if check == nil || len(check.Test) < 2 || check.Test[0] != "CMD" && check.Test[0] != "CMD-SHELL" {
		return nil
	}
	filled := withDefaults(*check)
	return &filled
}

// overlaid fills in from the image's check what is left open.
func overlaid(h sandbox.Healthcheck, image *sandbox.Healthcheck) *sandbox.Healthcheck {
	if len(h.Test) == 0 {
		h.Test = image.Test
	}
	for value, below := range map[*time.Duration]time.Duration{
		&h.Interval: image.Interval, &h.Timeout: image.Timeout, &h.StartPeriod: image.StartPeriod, &h.StartInterval: image.StartInterval,
	} {
		if *value == 0 {
			*value = below
		}
	}
	if h.Retries == 0 {
		h.Retries = image.Retries
	}
	return &h
}

// healthCommand is what a check executes.
func (c *container) healthCommand(h *sandbox.Healthcheck) []string {
	if h.Test[0] == "CMD-SHELL" {
		return append(imageShell(c.image.RawConfig), h.Test[1:]...)
	}
	return h.Test[1:]
}

// imageShell is the shell of an image's configuration, which Docker puts there (the instruction SHELL).
func imageShell(config []byte) []string {
	var image struct {
		Config struct{ Shell []string } `json:"config"`
	}
	if json.Unmarshal(config, &image) != nil || len(image.Config.Shell) == 0 {
		return []string{"/bin/sh", "-c"}
	}
	return image.Config.Shell
}

// monitorHealth runs the health check of a program that has begun until it ends.
func (c *container) monitorHealth(p *program) {
	c.tellHealth(nil)
	check := c.healthcheck()
	if !c.spec.Monitor || check == nil {
		return
	}
	m := &monitor{
		check: *check, began: p.began, health: sandbox.Health{Status: sandbox.HealthStarting},
		probe:  func(ctx context.Context) sandbox.HealthResult { return c.probeHealth(ctx, check) },
		paused: func() (bool, int64) { return c.paused.Load(), c.pauses.Load() },
	}
	m.report = func(h sandbox.Health, changed bool) {
		c.tellHealth(&h)
		if changed {
			c.emit(fmt.Sprintf("health_status: %s", h.Status))
		}
	}
	c.tellHealth(&m.health)
	ctx, end := context.WithCancel(c.life)
	go func() {
		<-p.ended
		end()
	}()
	go m.run(ctx)
}

// tellHealth has the container's status say how its program is; nil without a check.
func (c *container) tellHealth(h *sandbox.Health) {
	c.mu.Lock()
	if h != nil {
		copied := *h
		h = &copied
	}
	changed := c.health != nil || h != nil
	c.health = h
	c.mu.Unlock()
	if changed {
		c.recordHealth(h)
	}
}
