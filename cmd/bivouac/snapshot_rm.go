package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

func newSnapshotRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "rm SNAPSHOT...",
		DisableFlagsInUseLine: true,
		Short:                 "Remove snapshots",
		Long: `Remove snapshots. One that containers are made from is not removed; bivouac ps -a lists them. Nor is what other snapshots
are made from removed before they are.`,
		Example: `  bivouac snapshot rm ready
  bivouac snapshot rm $(bivouac snapshot ls -q)`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
			defer free()
			return causeOf(ctx, withSnapshots(ctx, func(client snapshots) error { return removeSnapshots(ctx, client, names) }))
		},
	}
}

func removeSnapshots(ctx context.Context, client snapshots, names []string) error {
	return forEach(os.Stderr, names, func(name string) error { return client.RemoveSnapshot(ctx, name) })
}
