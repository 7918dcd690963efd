package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// checkpointFlags are those of the verb checkpoint.
type checkpointFlags struct {
	processes              string
	live, stop, omitMounts bool
	stopTimeout            time.Duration
}

func newCheckpointCommand() *cobra.Command {
	f := &checkpointFlags{}
	cmd := &cobra.Command{
		Use:   "checkpoint [flags] CONTAINER [NAME]",
		Short: "Make a snapshot of a container, to start clones from",
		Long: `Make a snapshot of a container, from which bivouac restore starts any number of clones, and print its name, or its id
without one. Another snapshot of that name loses it. CONTAINER is a name, or an id or its beginning.

The snapshot holds the files that the container changed and, if it was started with run --checkpointable and the machine
has CRIU, its processes with their memory: clones then go on where it was. Otherwise they start its program on its
files, for which the program is asked to end first, unless --live is given, and started again afterwards.`,
		Example: `  bivouac run -d --checkpointable --name db -e POSTGRES_PASSWORD=x postgres:16
  bivouac checkpoint db ready
  bivouac restore ready -n 3`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cmd.Flags().StringVar(&f.processes, "processes", "auto", "take the processes where that is possible, or fail, or take files alone: `WHICH` is auto, required or never")
	cmd.Flags().BoolVar(&f.live, "live", false, "do not end the program for files without processes: they are then as after a crash")
	cmd.Flags().BoolVar(&f.stop, "stop", false, "end the program, which otherwise goes on")
	cmd.Flags().BoolVar(&f.omitMounts, "omit-mounts", false, "leave out what is in memory file systems, unless processes are taken")
	cmd.Flags().DurationVar(&f.stopTimeout, "stop-timeout", 0, "kill a program that takes longer than `DURATION` to end (default 10s)")
	return cmd
}

func (f *checkpointFlags) run(cmd *cobra.Command, args []string) error {
	spec, err := f.spec(args[1:])
	if err != nil {
		return err
	}
	ctx, free := interruptible(cmd.Context(), "there is no snapshot")
	defer free()
	c, err := openContainer(ctx, args[0])
	if err != nil {
		return err
	}
	defer c.close() //nolint:errcheck // the snapshot is there, or an error is told already
	s, err := c.Checkpoint(ctx, spec)
	if err != nil {
		return causeOf(ctx, err)
	}
	return tellSnapshot(cmd.OutOrStdout(), os.Stderr, s)
}

func (f *checkpointFlags) spec(name []string) (sandbox.CheckpointSpec, error) {
	s := sandbox.CheckpointSpec{LeaveRunning: !f.stop, OmitMounts: f.omitMounts, StopTimeout: f.stopTimeout}
	if len(name) > 0 {
		s.Name = name[0]
	}
	switch f.processes {
	case "auto":
	case "required", "never":
		s.Processes = sandbox.ProcessPolicy(f.processes)
	default:
		return s, usageErrorf("--processes %q: use auto, required or never", f.processes)
	}
	if f.live {
		s.Quality = sandbox.QualityLive
	}
	if f.live && s.Processes == sandbox.ProcessesRequired {
		return s, usageErrorf("--live and --processes required: it is about files without processes; leave out one of them")
	}
	if f.stopTimeout < 0 {
		return s, usageErrorf("--stop-timeout %v: needs a time that is not negative", f.stopTimeout)
	}
	return s, nil
}

// tellSnapshot prints what the snapshot is called, and besides what is in it.
func tellSnapshot(out, notes io.Writer, s sandbox.Snapshot) error {
	fmt.Fprintln(notes, "bivouac: "+describeSnapshot(s))
	_, err := fmt.Fprintln(out, snapshotName(s))
	return err
}

func describeSnapshot(s sandbox.Snapshot) string {
	switch {
	case s.Tier == sandbox.TierProcesses && s.Processes == 1:
		return fmt.Sprintf("files and 1 process, %s", humanSize(s.Size))
	case s.Tier == sandbox.TierProcesses:
		return fmt.Sprintf("files and %d processes, %s", s.Processes, humanSize(s.Size))
	case s.Fallback != "":
		return fmt.Sprintf("%s files without processes, %s: %s", s.Quality, humanSize(s.Size), printable(s.Fallback))
	}
	return fmt.Sprintf("%s files without processes, %s", s.Quality, humanSize(s.Size))
}

// snapshotName is the name, or the id of a snapshot that has none.
func snapshotName(s sandbox.Snapshot) string {
	if s.Name != "" {
		return printable(s.Name)
	}
	return s.ID
}
