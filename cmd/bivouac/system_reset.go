package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func newSystemResetCommand() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "reset [flags]",
		Short: "Remove everything that the store has",
		Long: `Remove everything that the store has, after a question: images, containers, volumes, snapshots, the build cache. Files of
subordinate ids are among it, which rm -r of the shell cannot remove. Containers that run are in the way, unless -f kills them;
so are tests and builds at work, which only whoever started them can end.`,
		Example: `  bivouac system reset -f`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				yes, err := confirm(cmd.InOrStdin(), cmd.OutOrStdout(),
					"WARNING! This will remove all images, containers, volumes and snapshots, and the build cache.")
				if err != nil || !yes {
					return err
				}
			}
			ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
			defer free()
			return causeOf(ctx, resetStore(ctx, force))
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask, and kill containers that run")
	return cmd
}

func resetStore(ctx context.Context, force bool) error {
	if force {
		if err := removeAll(ctx); err != nil {
			return err
		}
	}
	if err := withStore(ctx, func(client *sandbox.Client) error { return client.ResetStore(ctx) }); err != nil {
		return err
	}
	return removeRest()
}

// removeAll kills and removes all containers that can be found.
func removeAll(ctx context.Context) error {
	list, err := sandbox.Containers(ctx)
	r := &remover{force: true, volumes: true}
	for _, st := range list {
		if e := r.killAndRemove(ctx, st); ifGone(e) != nil {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, r.close())
}

// removeRest removes the directories that the keeper itself needed. What is in them is somebody else's by then.
func removeRest() error {
	dir, err := rootfs.DefaultDir()
	if err != nil {
		return err
	}
	for _, empty := range []string{filepath.Join(dir, "run"), dir} {
		if err := os.Remove(empty); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil //nolint:nilerr // it is in use again
		}
	}
	return nil
}
