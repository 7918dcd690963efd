package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// restoreRunFlags are the flags of run that restore has too.
var restoreRunFlags = []string{"name", "hostname", "label", "publish", "rm"}

// restoreFlags are those of the verb restore.
type restoreFlags struct {
	run          runFlags
	count        int
	machineClock bool
}

func newRestoreCommand() *cobra.Command {
	f := &restoreFlags{}
	cmd := &cobra.Command{
		Use:   "restore [flags] SNAPSHOT",
		Short: "Start clones of a container from a snapshot",
		Long: `Start clones of a container from a snapshot, and print their ids. They run in the background, as with run -d, and stay
until bivouac rm removes them. SNAPSHOT is a name, or an id or its beginning; see bivouac snapshot ls.

All clones are started at once. If some cannot be, the ids of the others are printed all the same. Ports that the original
had published are published again, on free ports of this machine; see bivouac port.`,
		Example: `  bivouac restore ready
  bivouac restore ready -n 10
  bivouac restore --name db -p 5432:5432 ready`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.restore(cmd, args[0]) },
	}
	f.register(cmd.Flags())
	freeHelp(cmd)
	return cmd
}

func (f *restoreFlags) register(s *pflag.FlagSet) {
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.run.register(all)
	for _, name := range restoreRunFlags {
		s.AddFlag(all.Lookup(name))
	}
	rm := s.Lookup("rm")
	rm.DefValue, rm.Usage, f.run.rm = "false", "discard each clone at its end", false
	s.IntVarP(&f.count, "count", "n", 1, "start `N` clones")
	s.BoolVar(&f.machineClock, "machine-clock", false, "let the processes see that time has passed since the checkpoint")
}

func (f *restoreFlags) restore(cmd *cobra.Command, snapshot string) error {
	spec, err := f.spec(snapshot)
	if err != nil {
		return err
	}
	ctx, free := interruptible(cmd.Context(), "no clone was left running")
	defer free()
	client, err := startStaying(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer client.Abandon() // the keeper goes on if there is a clone
	clones, err := startClones(ctx, f.count, func(ctx context.Context) (clone, error) { return startClone(ctx, client, spec) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(f.leaveClones(ctx, cmd.OutOrStdout(), clones), err)
}

func (f *restoreFlags) spec(snapshot string) (sandbox.RestoreSpec, error) {
	s := sandbox.RestoreSpec{Snapshot: snapshot, Name: f.run.name, Hostname: f.run.hostname, Listed: true, MachineClock: f.machineClock}
	if f.count < 1 {
		return s, usageErrorf("--count %d: needs a number of at least 1", f.count)
	}
	var asRun sandbox.Spec
	if err := errors.Join(f.run.setLabels(&asRun), f.run.ports.setPorts(&asRun)); err != nil {
		return s, &usageError{err.Error()}
	}
	s.Labels, s.Publish = asRun.Labels, asRun.Publish
	if f.count == 1 {
		return s, nil
	}
	if s.Name != "" {
		return s, usageErrorf("--name %q: only one of %d clones could have it; leave it out", s.Name, f.count)
	}
	for _, p := range s.Publish {
		if p.HostPort != 0 && p.HostPortLast <= p.HostPort {
			return s, usageErrorf("--publish: only one of %d clones could have port %d of this machine; leave out the machine's port, or give a range", f.count, p.HostPort)
		}
	}
	return s, nil
}

// clone is a container that was restored and runs.
type clone interface {
	detachable
	id() string
}

type restored struct{ *sandbox.Container }

func (r restored) id() string { return r.ID }

// startClone restores one container. It is in a keeper with the others: that makes the memory of each small, and each has
// its own files, processes, network and end all the same.
func startClone(ctx context.Context, client *sandbox.Client, spec sandbox.RestoreSpec) (clone, error) {
	c, err := client.Restore(ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx, sandbox.Streams{Log: true}); err != nil {
		return nil, errors.Join(err, c.Discard(context.WithoutCancel(ctx)))
	}
	return restored{c}, nil
}

// startClones starts n clones at once. The error is that of the first that failed, while the others are returned.
func startClones(ctx context.Context, n int, start func(context.Context) (clone, error)) ([]clone, error) {
	clones, errs := make([]clone, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { clones[i], errs[i] = start(ctx) })
	}
	all.Wait()
	clones = slices.DeleteFunc(clones, func(c clone) bool { return c == nil })
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 && n > 1 {
		return clones, fmt.Errorf("restore %d of %d clones: %w", len(failed), n, failed[0])
	}
	return clones, errors.Join(failed...)
}

// leaveClones leaves clones running and prints their ids.
func (f *restoreFlags) leaveClones(ctx context.Context, out io.Writer, clones []clone) error {
	for _, c := range clones {
		if r, ok := c.(restored); ok {
			warn(r.Warnings)
		}
		if err := leaveRunning(ctx, c, f.run.rm); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, c.id()); err != nil {
			return err
		}
	}
	return nil
}
