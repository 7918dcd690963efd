package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newVolumeRmCommand() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:     "rm [flags] VOLUME...",
		Aliases: []string{"remove"},
		Short:   "Remove volumes",
		Long: `Remove volumes with all that is in them, and print their names. One that a container has, running or not, is not removed.
With -f it is no error that a volume does not exist.`,
		Example: `  bivouac volume rm data
  bivouac volume rm $(bivouac volume ls -q --filter dangling=true)`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
			defer free()
			return causeOf(ctx, withVolumes(ctx, func(client *sandbox.Client) error {
				return removeVolumes(ctx, cmd.OutOrStdout(), client, names, force)
			}))
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not fail for a volume that does not exist")
	return cmd
}

func removeVolumes(ctx context.Context, w io.Writer, client *sandbox.Client, names []string, force bool) error {
	return forEach(os.Stderr, names, func(name string) error {
		err := client.RemoveVolume(ctx, name)
		if err != nil && !(force && sandbox.CodeOf(err) == sandbox.CodeNotFound) {
			return err
		}
		_, err = fmt.Fprintln(w, name)
		return err
	})
}
