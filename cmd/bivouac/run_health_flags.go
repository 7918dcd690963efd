package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// healthFlags are the flags of run about the health check.
type healthFlags struct {
	command                                       string
	interval, timeout, startPeriod, startInterval time.Duration
	retries                                       int
	none                                          bool
	given                                         func(flag string) bool
}

func (f *healthFlags) register(s *pflag.FlagSet) {
	s.StringVar(&f.command, "health-cmd", "", "`COMMAND` of a shell that ends with 0 while the program is well")
	s.DurationVar(&f.interval, "health-interval", 0, "`DURATION` between two checks (default the image's, or 30s)")
	s.DurationVar(&f.timeout, "health-timeout", 0, "`DURATION` that a check may take (default the image's, or 30s)")
	s.IntVar(&f.retries, "health-retries", 0, "`N` checks that fail in a row make the container unhealthy (default the image's, or 3)")
	s.DurationVar(&f.startPeriod, "health-start-period", 0, "`DURATION` at the start in which failures do not count")
	s.DurationVar(&f.startInterval, "health-start-interval", 0, "`DURATION` between two checks in that time (default the image's, or 5s)")
	s.BoolVar(&f.none, "no-healthcheck", false, "do not run the image's health check")
	f.given = s.Changed
}

func (f *healthFlags) set(s *sandbox.Spec) error {
	some := false
	for flag, value := range map[string]time.Duration{
		"health-interval": f.interval, "health-timeout": f.timeout, "health-start-period": f.startPeriod, "health-start-interval": f.startInterval,
	} {
		some = some || f.given(flag)
		if value < 0 || value > 0 && value < time.Millisecond {
			return fmt.Errorf("--%s %v: needs at least a millisecond", flag, value)
		}
	}
	some = some || f.command != "" || f.given("health-retries")
	switch {
	case f.none && some:
		return errors.New("--no-healthcheck and --health-...: leave out one of them")
	case f.retries < 0:
		return fmt.Errorf("--health-retries %d: needs a number that is not negative", f.retries)
	case f.none:
		s.Health = &sandbox.Healthcheck{Test: []string{"NONE"}}
	case some:
		s.Health = &sandbox.Healthcheck{
			Interval: f.interval, Timeout: f.timeout, StartPeriod: f.startPeriod, StartInterval: f.startInterval, Retries: f.retries,
		}
		if f.command != "" {
			s.Health.Test = []string{"CMD-SHELL", f.command}
		}
	}
	return nil
}
