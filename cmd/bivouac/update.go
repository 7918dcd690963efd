package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// updateFlags are those of the verb update. Those of limits mean what they mean for run.
type updateFlags struct {
	run     runFlags
	changed func(flag string) bool
}

// limitFlags are the flags of run that update has too.
var limitFlags = []string{"memory", "memory-swap", "cpus", "pids-limit", "limits", "restart"}

func newUpdateCommand() *cobra.Command {
	f := &updateFlags{}
	cmd := &cobra.Command{
		Use:   "update [flags] CONTAINER...",
		Short: "Change limits and restart policy of containers",
		Long: `Change the limits and the restart policy of containers. Limits apply at once where the command runs, and need a delegated cgroup,
as those of bivouac run do. What no flag names stays; 0 takes the limit of CPUs or processes away, -1 that of memory.
CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac update -m 512m --cpus 1.5 web
  bivouac update --restart unless-stopped web db
  bivouac update --pids-limit 0 web`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			f.changed = cmd.Flags().Changed
			if err := f.check(); err != nil {
				return err
			}
			return eachContainer(cmd, names, f.update)
		},
	}
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.run.register(all)
	for _, name := range limitFlags {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	cmd.Flags().Lookup("restart").DefValue = "" // what is not given stays
	return cmd
}

// check refuses what makes no sense for any container.
func (f *updateFlags) check() error {
	changes := false
	for _, flag := range limitFlags {
		changes = changes || flag != "limits" && f.changed(flag)
	}
	if !changes {
		return usageErrorf("update: nothing is to be changed; give --memory, --memory-swap, --cpus, --pids-limit or --restart")
	}
	_, err := f.spec(sandbox.Limits{})
	return err
}

func (f *updateFlags) update(ctx context.Context, name string) error {
	return withContainer(ctx, name, func(o *opened) error {
		config, err := o.Config(ctx)
		if err != nil {
			return err
		}
		spec, err := f.spec(config.Limits)
		if err != nil {
			return err
		}
		warnings, err := o.Update(ctx, spec)
		warn(warnings)
		return err
	})
}

// spec says what to change of a container that has limits.
//
// Errors: usageError.
func (f *updateFlags) spec(limits sandbox.Limits) (sandbox.UpdateSpec, error) {
	var u sandbox.UpdateSpec
	if f.changed("restart") {
		policy, err := parseRestart(f.run.kept.restart)
		if err != nil {
			return u, usageErrorf("%v", err)
		}
		u.Restart = &policy
	}
	for _, flag := range limitFlags[:4] {
		if f.changed(flag) {
			merged, err := f.limits(limits)
			if err != nil {
				return u, usageErrorf("%v", err)
			}
			u.Limits = &merged
			break
		}
	}
	return u, nil
}

// limits changes those that flags name.
func (f *updateFlags) limits(l sandbox.Limits) (sandbox.Limits, error) {
	asked := f.run
	if asked.memory == "-1" || asked.memory == "0" {
		asked.memory = ""
	}
	memory := asked.memory
	if !f.changed("memory") && f.changed("memory-swap") && l.Memory > 0 { // which counts both together
		asked.memory = bytesText(l.Memory)
	}
	var s sandbox.Spec
	if err := asked.setLimits(&s); err != nil {
		return l, err
	}
	l.BestEffort = s.Limits.BestEffort
	if f.changed("memory") {
		l.Memory = s.Limits.Memory
		if memory == "" || !f.changed("memory-swap") && l.Swap >= 0 {
			l.Swap = s.Limits.Swap
		}
	}
	if f.changed("memory-swap") {
		l.Swap = s.Limits.Swap
	}
	if f.changed("cpus") {
		l.CPUs = s.Limits.CPUs
	}
	if f.changed("pids-limit") {
		l.PIDs = s.Limits.PIDs
	}
	return l, nil
}

// bytesText is a size as --memory takes it.
func bytesText(n int64) string { return strconv.FormatInt(n, 10) + "b" }
