package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// The conditions that wait knows, which are those of Docker's API.
const (
	untilNotRunning = "not-running"
	untilNextExit   = "next-exit"
	untilRemoved    = "removed"
)

func newWaitCommand() *cobra.Command {
	condition := untilNotRunning
	cmd := &cobra.Command{
		Use:   "wait [flags] CONTAINER...",
		Short: "Wait for containers to end, and print their exit codes",
		Long: `Wait until the programs of containers have ended, and print their exit codes, one on each line. One that does not run has
ended. One that a restart policy starts again has not. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac wait job
  bivouac wait --condition removed job`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("--condition", condition, untilNotRunning, untilNextExit, untilRemoved); err != nil {
				return usageErrorf("%v", err)
			}
			return waitForAll(cmd, names, condition)
		},
	}
	cmd.Flags().StringVar(&condition, "condition", condition, "what to wait for: `CONDITION` is not-running, next-exit or removed")
	return cmd
}

// waitForAll finds all containers first: what is waited for may be gone by the time that it is its turn.
func waitForAll(cmd *cobra.Command, names []string, condition string) error {
	waits := map[string]*waiting{}
	for _, name := range names {
		if st, err := sandbox.Find(cmd.Context(), name); err == nil {
			waits[name] = beginWait(cmd.Context(), st, condition)
		} else {
			waits[name] = &waiting{err: err, done: closedChannel()}
		}
	}
	return eachOutput(cmd, names, func(name string) (string, error) {
		w := waits[name]
		<-w.done
		return fmt.Sprint(w.code), w.err
	})
}

// eachOutput prints what f returns for each name, also after failures.
func eachOutput(cmd *cobra.Command, names []string, f func(name string) (string, error)) error {
	return forEach(cmd.ErrOrStderr(), names, func(name string) error {
		text, err := f(name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	})
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// waiting waits for one container. Its results are there once done is closed.
type waiting struct {
	condition string
	last      sandbox.Status // what was last heard of it
	code      int
	err       error
	done      chan struct{}
}

func beginWait(ctx context.Context, st sandbox.Status, condition string) *waiting {
	w := &waiting{condition: condition, last: st, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.code, w.err = w.wait(ctx)
	}()
	return w
}

// waitPoll is how often a container is looked at that nobody tells of: one that does not run, or waits to be started again.
const waitPoll = 50 * time.Millisecond

func (w *waiting) wait(ctx context.Context) (int, error) {
	first := w.last
	for {
		if isUp(w.last.State) {
			if err := w.follow(ctx); err != nil {
				return 0, err
			}
		}
		st, err := sandbox.Find(ctx, first.ID)
		if sandbox.CodeOf(err) == sandbox.CodeNotFound {
			return w.last.Exit.Code, nil
		}
		if err != nil {
			return 0, err
		}
		w.last = st
		if w.isMet(first) {
			return st.Exit.Code, nil
		}
		select {
		case <-time.After(waitPoll):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (w *waiting) isMet(first sandbox.Status) bool {
	switch w.condition {
	case untilNotRunning:
		return !isUp(w.last.State)
	case untilNextExit:
		return w.last.Finished.After(first.Finished) && w.last.State != sandbox.StateRunning && w.last.State != sandbox.StatePaused
	}
	return false
}

// follow waits for the end of the program that runs, and keeps its exit code for a container that is gone by then.
func (w *waiting) follow(ctx context.Context) error {
	a, err := sandbox.Attach(ctx, w.last.ID)
	switch sandbox.CodeOf(err) {
	case "":
	case sandbox.CodeNotRunning, sandbox.CodeNotFound:
		return nil
	default:
		return err
	}
	defer a.Close() //nolint:errcheck // the container goes on whatever becomes of the connection
	exit, err := a.Wait(ctx)
	if err == nil {
		w.last.Exit, w.last.Finished = exit, time.Now()
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return nil // its keeper was killed, or the program was not started: the record tells
}
