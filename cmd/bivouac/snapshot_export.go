package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs/aside"
)

func newSnapshotExportCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export [flags] SNAPSHOT",
		Short: "Write a snapshot to a tar file",
		Long: `Write a snapshot to a tar file, with all that it needs but its image, for bivouac snapshot import on this machine or on one
like it. The file has its name only once it is complete. Processes' memory may hold secrets: so does the file then.`,
		Example: `  bivouac snapshot export -o ready.tar ready
  bivouac snapshot export ready | gzip >ready.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if file == "-" && isTerminal(out) {
				return usageErrorf("write a snapshot to a terminal: give a file with -o, or redirect the output")
			}
			ctx, free := interruptible(cmd.Context(), "nothing was written")
			defer free()
			return causeOf(ctx, withSnapshots(ctx, func(client snapshots) error { return exportSnapshot(ctx, out, client, args[0], file) }))
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "-", "write to `FILE`; - is standard output")
	return cmd
}

func exportSnapshot(ctx context.Context, out io.Writer, client snapshots, snapshot, file string) error {
	tar, err := client.ExportSnapshot(ctx, snapshot)
	if err != nil {
		return err
	}
	defer tar.Close()
	if file == "-" {
		_, err := io.Copy(out, tar)
		return err
	}
	return writeAside(file, tar)
}

// writeAside gives a file its name when all of it is there. It is for its owner alone. What is no regular file, such as
// /dev/null or a fifo, stays what it is and is written to.
func writeAside(file string, content io.Reader) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return writeInto(file, content)
	}
	f, err := aside.Create(file)
	if err == nil {
		defer f.Discard()
		_, err = io.Copy(f, content)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.Keep()
}

func writeInto(file string, content io.Reader) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
