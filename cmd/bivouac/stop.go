package main

import (
	"context"
	"time"

	"github.com/moby/sys/signal"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// stopFlags say how a program is asked to end.
type stopFlags struct {
	seconds int
	given   bool
	signal  string
}

func (f *stopFlags) register(s *pflag.FlagSet) {
	s.IntVarP(&f.seconds, "timeout", "t", 10, "kill after that many `SECONDS`, -1 for never (default the container's --stop-timeout, or 10)")
	s.Lookup("timeout").DefValue = "0" // is not printed
	s.IntVar(&f.seconds, "time", 10, "the same as --timeout")
	_ = s.MarkHidden("time")
	s.StringVarP(&f.signal, "signal", "s", "", "`SIGNAL` that asks the program to end (default the container's)")
}

// spec translates the flags.
//
// Errors: usageError.
func (f *stopFlags) spec(set *pflag.FlagSet) (sandbox.StopSpec, error) {
	f.given = set.Changed("timeout") || set.Changed("time")
	if f.seconds < -1 {
		return sandbox.StopSpec{}, usageErrorf("--timeout %d: needs a number of seconds, or -1", f.seconds)
	}
	number, err := signalNumber("--signal", f.signal)
	return sandbox.StopSpec{Signal: number, Grace: grace(f.seconds)}, err
}

// grace is a number of seconds, of which a negative one means no end.
func grace(seconds int) time.Duration { return time.Duration(seconds) * time.Second }

// signalNumber reads a name, with or without SIG, or a number; none is 0.
//
// Errors: usageError.
func signalNumber(flag, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	s, err := signal.ParseSignal(text)
	if err != nil || s < 1 || s > 64 {
		return 0, usageErrorf("%s %q: there is no such signal; give a name such as SIGTERM, or a number", flag, text)
	}
	return int(s), nil
}

// signalName is a signal's name with SIG, empty for one that has none.
func signalName(number int) string { return unix.SignalName(unix.Signal(number)) }

func newStopCommand() *cobra.Command {
	f := &stopFlags{}
	cmd := &cobra.Command{
		Use:   "stop [flags] CONTAINER...",
		Short: "Stop containers",
		Long: `Ask the programs of containers to end, by the container's stop signal, and kill them after a time. A container that is kept
stays, with its files, for start; others go. What does not run is left as it is. CONTAINER is a name, or an id or its
beginning.`,
		Example: `  bivouac stop web
  bivouac stop -t 1 web db`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			spec, err := f.spec(cmd.Flags())
			if err != nil {
				return err
			}
			return eachContainerAtOnce(cmd, names, func(ctx context.Context, name string) error { return f.stop(ctx, name, spec) })
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// stop leaves what does not run as it is.
func (f *stopFlags) stop(ctx context.Context, name string, spec sandbox.StopSpec) error {
	a, err := sandbox.Attach(ctx, name)
	if sandbox.CodeOf(err) == sandbox.CodeNotRunning {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.Close() //nolint:errcheck // the container is stopped, whatever becomes of the connection
	return f.stopAttached(ctx, a, spec)
}

// stopAttached stops a container as the flags say, and where they do not, as the container's own do.
func (f *stopFlags) stopAttached(ctx context.Context, a *sandbox.Attached, spec sandbox.StopSpec) error {
	if !isUp(a.Status.State) {
		return nil
	}
	if !f.given {
		config, err := a.Config(ctx)
		if err != nil {
			return ifNotGone(err)
		}
		if config.StopTimeout != nil {
			spec.Grace = grace(*config.StopTimeout)
		}
	}
	_, err := a.Stop(ctx, spec)
	if sandbox.CodeOf(err) == sandbox.CodeNotRunning { // somebody is about to start it
		return nil
	}
	return ifNotGone(err)
}

// ifNotGone is nil for what is said of a container that is gone: one that is not kept goes with its program, and its keeper.
func ifNotGone(err error) error {
	if code := sandbox.CodeOf(err); code == sandbox.CodeAlreadyFinished {
		return nil
	}
	return err
}
