package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm [flags] NAME...",
		Short: "Remove containers that were kept",
		Long: `Remove the files that bivouac run --keep left below containers/NAME in the store. They may belong to subordinate ids, so
that rm -r of the shell cannot.`,
		Example: `  bivouac run --keep --name build debian:12 touch /result
  bivouac rm build`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
			defer free()
			client, err := startClient(ctx)
			if err != nil {
				return causeOf(ctx, err)
			}
			return errors.Join(causeOf(ctx, removeAll(ctx, client, names)), client.Close())
		},
	}
}

// removeAll goes on after a failure and returns the first.
func removeAll(ctx context.Context, client *sandbox.Client, names []string) error {
	var first error
	for _, name := range names {
		if err := client.Remove(ctx, name); err != nil && first == nil {
			first = err
		}
	}
	return first
}
