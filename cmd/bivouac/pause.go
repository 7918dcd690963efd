package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newPauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "pause CONTAINER...",
		DisableFlagsInUseLine: true,
		Short:                 "Pause everything that runs in containers",
		Long: `Stop all processes of running containers until unpause lets them go on. What connects to them waits meanwhile. CONTAINER is a
name, or an id or its beginning.`,
		Example: `  bivouac pause web
  bivouac unpause web`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error { return eachContainer(cmd, names, pause) },
	}
}

func pause(ctx context.Context, name string) error {
	return withRunning(ctx, name, "pause", func(a *sandbox.Attached) error {
		switch a.Status.State {
		case sandbox.StatePaused:
			return sandbox.Errorf(sandbox.CodeInvalid, "pause container %q: it is paused already", name).WithRemedy("bivouac unpause %s", name)
		case sandbox.StateRestarting:
			return sandbox.Errorf(sandbox.CodeInvalid, "pause container %q: its program has ended, and is about to be started again", name).
				WithRemedy("wait for that, or stop it: bivouac stop %s", name)
		}
		return a.Pause(ctx)
	})
}
