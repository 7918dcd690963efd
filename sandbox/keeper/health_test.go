package keeper

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// watch runs a health check by a clock of its own, for a time. The results come from a function of how long the program has
// run. It returns the changes of status as "TIME STATUS".
func watch(check sandbox.Healthcheck, limit time.Duration, result func(t time.Duration) int, pausedAt func(t time.Duration) (bool, int64)) (changes []string, m *monitor, probes int) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	m = &monitor{check: withDefaults(check), began: began, health: sandbox.Health{Status: sandbox.HealthStarting}}
	m.probe = func(context.Context) sandbox.HealthResult {
		probes++
		start := time.Now()
		time.Sleep(time.Second)
		return sandbox.HealthResult{Start: start, End: time.Now(), ExitCode: result(start.Sub(began))}
	}
	m.paused = func() (bool, int64) {
		if pausedAt == nil {
			return false, 0
		}
		return pausedAt(time.Since(began))
	}
	m.report = func(h sandbox.Health, changed bool) {
		if changed {
			changes = append(changes, fmt.Sprintf("%v %s", time.Since(began), h.Status))
		}
	}
	m.run(ctx)
	return changes, m, probes
}

func failing(from, to time.Duration) func(time.Duration) int {
	return func(t time.Duration) int {
		if t >= from && t < to {
			return 1
		}
		return 0
	}
}

func TestHealthChanges(t *testing.T) {
	const always = time.Hour
	for name, c := range map[string]struct {
		check  sandbox.Healthcheck
		result func(time.Duration) int
		want   string
	}{
		"defaults":             {sandbox.Healthcheck{}, failing(0, 0), "[31s healthy]"},
		"three failures":       {sandbox.Healthcheck{}, failing(0, always), "[1m33s unhealthy]"},
		"retries":              {sandbox.Healthcheck{Interval: 10 * time.Second, Retries: 1}, failing(0, always), "[11s unhealthy]"},
		"recovers":             {sandbox.Healthcheck{Interval: 10 * time.Second, Retries: 2}, failing(0, 30*time.Second), "[22s unhealthy 33s healthy]"},
		"a failure is nothing": {sandbox.Healthcheck{Interval: 10 * time.Second, Retries: 2}, failing(20*time.Second, 30*time.Second), "[11s healthy]"},
		"start period": {
			sandbox.Healthcheck{Interval: 10 * time.Second, Retries: 1, StartPeriod: time.Minute, StartInterval: 2 * time.Second},
			failing(0, 20*time.Second), "[21s healthy]",
		},
		"start period is over": {
			sandbox.Healthcheck{Interval: 10 * time.Second, Retries: 1, StartPeriod: 20 * time.Second, StartInterval: 5 * time.Second},
			failing(0, always), "[24s unhealthy]",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			if changes, _, _ := watch(c.check, 5*time.Minute, c.result, nil); fmt.Sprint(changes) != c.want {
				t.Errorf("%s: %v, want %s", name, changes, c.want)
			}
		})
	}
}

func TestHealthKeepsTheLastFive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, m, probes := watch(sandbox.Healthcheck{Interval: time.Second}, time.Minute, func(t time.Duration) int { return int(t / time.Second) }, nil)
		if probes < 20 || len(m.health.Log) != healthLog {
			t.Fatalf("%d of %d", len(m.health.Log), probes)
		}
		for i, r := range m.health.Log[1:] {
			if r.ExitCode <= m.health.Log[i].ExitCode {
				t.Errorf("%+v", m.health.Log)
			}
		}
		if m.health.FailingStreak < probes-1 {
			t.Errorf("%d failures in a row", m.health.FailingStreak)
		}
	})
}

func TestHealthOfAPausedContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		paused := func(t time.Duration) (bool, int64) {
			if t < 25*time.Second {
				return false, 0
			}
			return t < 5*time.Minute, 1
		}
		changes, _, probes := watch(sandbox.Healthcheck{Interval: 10 * time.Second, Retries: 1}, 5*time.Minute, failing(24*time.Second, time.Hour), paused)
		if fmt.Sprint(changes) != "[11s healthy]" || probes != 2 {
			t.Errorf("%v after %d", changes, probes)
		}
	})
}

func TestHealthcheckOfSpecAndImage(t *testing.T) {
	const image = `{"config":{"Shell":["/bin/bash","-ec"],"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":7000000000,"Retries":9}}}`
	for name, c := range map[string]struct {
		spec  *sandbox.Healthcheck
		image string
		want  string
	}{
		"none":           {nil, `{}`, "[] 0s 0"},
		"image's":        {nil, image, "[/bin/bash -ec true] 7s 9"},
		"switched off":   {&sandbox.Healthcheck{Test: []string{"NONE"}}, image, "[] 0s 0"},
		"replaced":       {&sandbox.Healthcheck{Test: []string{"CMD", "a", "b"}}, image, "[a b] 7s 9"},
		"partly changed": {&sandbox.Healthcheck{Retries: 2}, image, "[/bin/bash -ec true] 7s 2"},
		"default shell":  {&sandbox.Healthcheck{Test: []string{"CMD-SHELL", "x"}}, `{}`, "[/bin/sh -c x] 30s 3"},
		"of no kind":     {&sandbox.Healthcheck{Test: []string{"ECHO", "x"}}, image, "[] 0s 0"},
		"nothing to run": {&sandbox.Healthcheck{Test: []string{"CMD"}}, `{}`, "[] 0s 0"},
	} {
		got := "[] 0s 0"
		k := &container{spec: &sandbox.Spec{Health: c.spec}, image: &rootfs.Image{RawConfig: []byte(c.image)}}
		if h := k.healthcheck(); h != nil {
			got = fmt.Sprint(k.healthCommand(h), h.Interval, h.Retries)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
