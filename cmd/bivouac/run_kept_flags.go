package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// keptFlags are the flags of run about how a container ends, starts again, and what is kept of its output.
type keptFlags struct {
	restart     string
	stopTimeout int
	stopGiven   func() bool
	logDriver   string
	logOptions  []string
}

func (f *keptFlags) register(s *pflag.FlagSet) {
	s.StringVar(&f.restart, "restart", "no", "start the program again after its end: `POLICY` is no, on-failure[:N], always or unless-stopped")
	s.IntVar(&f.stopTimeout, "stop-timeout", 10, "`SECONDS` until bivouac stop kills, -1 for never")
	f.stopGiven = func() bool { return s.Changed("stop-timeout") }
	s.StringVar(&f.logDriver, "log-driver", "json-file", "keep the output, unless the container is discarded in the foreground: `DRIVER` is json-file, local (the same) or none")
	s.StringArrayVar(&f.logOptions, "log-opt", nil, "keep less of it, or more with it: `OPTION` is max-size=SIZE, max-file=N, labels=NAME,... or env=NAME,...")
}

// restarts tells whether the program is to be started again.
func (f *keptFlags) restarts() bool { return f.restart != "no" && f.restart != "" }

func (f *keptFlags) set(s *sandbox.Spec) (err error) {
	if s.Restart, err = parseRestart(f.restart); err != nil {
		return err
	}
	if f.stopGiven() {
		if f.stopTimeout < -1 {
			return fmt.Errorf("--stop-timeout %d: needs a number of seconds, or -1", f.stopTimeout)
		}
		s.StopTimeout = &f.stopTimeout
	}
	if err := oneOf("--log-driver", f.logDriver, "json-file", "local", "none"); err != nil {
		return err
	}
	s.Log.None = f.logDriver == "none"
	for _, option := range f.logOptions {
		if s.Log.None {
			return fmt.Errorf("--log-opt %s: --log-driver none keeps no log; leave out one of them", option)
		}
		if err := logOption(&s.Log, option); err != nil {
			return fmt.Errorf("--log-opt %q: %w", option, err)
		}
	}
	return nil
}

// parseRestart reads NAME or on-failure:N.
func parseRestart(text string) (sandbox.RestartPolicy, error) {
	name, retries, counted := strings.Cut(text, ":")
	p := sandbox.RestartPolicy{Name: sandbox.RestartName(name)}
	known := []sandbox.RestartName{"", sandbox.RestartNo, sandbox.RestartAlways, sandbox.RestartOnFailure, sandbox.RestartUnlessStopped}
	if !slices.Contains(known, p.Name) {
		return p, fmt.Errorf("--restart %q: use no, on-failure[:N], always or unless-stopped", text)
	}
	if counted {
		n, err := strconv.Atoi(retries)
		if err != nil || n < 0 || p.Name != sandbox.RestartOnFailure {
			return p, fmt.Errorf("--restart %q: only on-failure takes a number of times", text)
		}
		p.MaxRetries = n
	}
	if p.Name == sandbox.RestartNo {
		p.Name = ""
	}
	return p, nil
}

// leastLog is the kernel's page: a smaller file would hold no line of a terminal program.
const leastLog = 4096

func logOption(l *sandbox.LogOptions, option string) (err error) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "max-size":
		if l.MaxSize, err = size("max-size", value); err == nil && l.MaxSize < leastLog {
			err = fmt.Errorf("needs at least %d bytes", leastLog)
		}
	case "max-file":
		if l.MaxFiles, err = strconv.Atoi(value); err != nil || l.MaxFiles < 1 {
			err = fmt.Errorf("needs a number of files")
		}
	case "labels":
		l.Labels = strings.Split(value, ",")
	case "env":
		l.Env = strings.Split(value, ",")
	default:
		err = fmt.Errorf("unknown; use max-size, max-file, labels, env")
	}
	return err
}
