package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func newSnapshotImportCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import [flags] [FILE]",
		Short: "Read a snapshot from a tar file",
		Long: `Read a snapshot that bivouac snapshot export has written from a file, or from standard input, into the store, and print
its name, or its id without one. Its image is fetched when a clone is made from it. Import only what you trust: processes
go on with whatever is in their memory.`,
		Example: `  bivouac snapshot import ready.tar
  gzip -d <ready.tar.gz | bivouac snapshot import --name theirs`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openImport(args)
			if err != nil {
				return err
			}
			defer in.Close()
			ctx, free := interruptible(cmd.Context(), "nothing was stored")
			defer free()
			return causeOf(ctx, withSnapshots(ctx, func(client snapshots) error { return importSnapshot(ctx, cmd.OutOrStdout(), client, in, name) }))
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the snapshot (default the one that it had)")
	return cmd
}

func openImport(args []string) (*os.File, error) {
	if len(args) > 0 && args[0] != "-" {
		return os.Open(args[0])
	}
	if isTerminal(os.Stdin) {
		return nil, usageErrorf("read a snapshot from a terminal: give a file, or redirect the input")
	}
	return os.Stdin, nil
}

func importSnapshot(ctx context.Context, out io.Writer, client snapshots, in io.Reader, name string) error {
	s, err := client.ImportSnapshot(ctx, in, name)
	if err != nil {
		return err
	}
	return tellSnapshot(out, os.Stderr, s)
}
