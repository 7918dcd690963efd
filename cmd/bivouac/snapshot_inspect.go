package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newSnapshotInspectCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [flags] SNAPSHOT...",
		Short: "Show all that is known about snapshots",
		Long: `Show all that is known about snapshots, as a JSON array: what is in them, why there are no processes in them if they were
wanted, with which kernel and CRIU they were made, and how their container was started.

Templates use the names of sandbox.Snapshot of the Go package, and the functions json, upper, lower, title, split, join
and truncate.`,
		Example: `  bivouac snapshot inspect ready
  bivouac snapshot inspect --format '{{.Tier}} {{.Fallback}}' ready`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return withSnapshots(cmd.Context(), func(client snapshots) error {
				return inspectSnapshots(cmd.Context(), cmd.OutOrStdout(), client, format, names)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", fmt.Sprintf(formatUsage, "Tier"))
	return cmd
}

// inspectSnapshots prints nothing unless all of them are there.
func inspectSnapshots(ctx context.Context, w io.Writer, client snapshots, format string, names []string) error {
	var found []sandbox.Snapshot
	for _, name := range names {
		s, err := client.Snapshot(ctx, name)
		if err != nil {
			return err
		}
		found = append(found, s)
	}
	switch format {
	case "":
		return writeIndented(w, found)
	case "json":
		return writeJSON(w, [][]sandbox.Snapshot{found})
	}
	return writeRows(w, format, found, sandbox.Snapshot{})
}
