package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// snapshots is what the verbs need of a client.
type snapshots interface {
	Snapshots(ctx context.Context) ([]sandbox.Snapshot, error)
	Snapshot(ctx context.Context, snapshot string) (sandbox.Snapshot, error)
	RemoveSnapshot(ctx context.Context, snapshot string) error
	ExportSnapshot(ctx context.Context, snapshot string) (io.ReadCloser, error)
	ImportSnapshot(ctx context.Context, tar io.Reader, name string) (sandbox.Snapshot, error)
}

func newSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "snapshot COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "List, inspect, remove, export and import snapshots",
		Long: `List, inspect, remove, export and import the snapshots of the store: those that bivouac checkpoint has made, and those
that Go tests have made for one another. A snapshot is called by its name, its id, or a beginning of the id that no other has.`,
		Example: `  bivouac snapshot ls
  bivouac snapshot rm ready`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("unknown command %q for bivouac snapshot; see %q", args[0], cmd.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{
		newSnapshotLsCommand(), newSnapshotInspectCommand(), newSnapshotRmCommand(), newSnapshotExportCommand(), newSnapshotImportCommand(),
	} {
		cmd.AddCommand(sub)
	}
	return cmd
}

// withSnapshots calls f with a keeper that ends with it.
func withSnapshots(ctx context.Context, f func(snapshots) error) error {
	client, err := startClient(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(client), client.Close())
}

// completeSnapshots offers names, and the ids of snapshots without.
func completeSnapshots(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	var names []string
	_ = withSnapshots(ctx, func(client snapshots) error { // a shell has no use for an error
		list, err := client.Snapshots(ctx)
		for _, s := range list {
			name := s.Name
			if name == "" {
				name = s.ID[:min(12, len(s.ID))]
			}
			if strings.HasPrefix(name, toComplete) {
				names = append(names, cobra.CompletionWithDesc(printable(name), imageName(s.Image.Name)))
			}
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
