package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newUnpauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "unpause CONTAINER...",
		DisableFlagsInUseLine: true,
		Short:                 "Let paused containers go on",
		Long:                  `Let all processes of paused containers go on. CONTAINER is a name, or an id or its beginning.`,
		Example:               `  bivouac unpause web`,
		Args:                  cobra.MinimumNArgs(1),
		RunE:                  func(cmd *cobra.Command, names []string) error { return eachContainer(cmd, names, unpause) },
	}
}

func unpause(ctx context.Context, name string) error {
	return withRunning(ctx, name, "unpause", func(a *sandbox.Attached) error {
		if a.Status.State != sandbox.StatePaused {
			return sandbox.Errorf(sandbox.CodeInvalid, "unpause container %q: it is not paused", name).WithRemedy("see bivouac ps")
		}
		return a.Resume(ctx)
	})
}
