package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newSystemCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "system COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Look after the store: what it takes, what can go, whether it is whole",
		Long: `Look after the store, in which images, containers that are kept, volumes, snapshots and the build cache are: show what takes
how much of the disk, remove what nothing needs, verify everything, or remove everything.`,
		Example: `  bivouac system df
  bivouac system prune -f
  bivouac system check --repair`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSystemDfCommand(), newSystemPruneCommand(), newSystemCheckCommand(), newSystemResetCommand(), newInfoCommand(), newEventsCommand())
	return cmd
}

// withStore calls f with a keeper, which has the ids that files of the store belong to. The keeper ends with it.
func withStore(ctx context.Context, f func(*sandbox.Client) error) error {
	client, err := startClient(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(client), client.Close())
}
