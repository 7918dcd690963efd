package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newBuilderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "builder COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Build images, and look after the build cache",
		Long: `Build images, and look after the build cache: the finished steps of builds and the directories of RUN --mount=type=cache,
which are in the store. bivouac system df shows what they take.`,
		Example: `  bivouac builder prune
  bivouac builder build -t app .`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBuildCommand(), newBuilderPruneCommand())
	return cmd
}

// newBuildxCommand is for scripts that know Docker's plug-in.
func newBuildxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "buildx COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "The same as build and builder, by the name of Docker's plug-in",
		Example:               `  bivouac buildx build -t app .`,
		Hidden:                true,
		Args:                  cobra.NoArgs,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBuildCommand(), newBuilderPruneCommand())
	return cmd
}

func newBuilderPruneCommand() *cobra.Command {
	force, all := false, false
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove the build cache",
		Long: `Remove the finished steps of builds, and the directories of RUN --mount=type=cache, as far as no build uses them. Images stay
as they are.`,
		Example: `  bivouac builder prune
  bivouac builder prune -f`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return pruneBuildCache(cmd, force) },
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also what images have in common with the cache; that is always so")
	_ = cmd.Flags().MarkHidden("all")
	return cmd
}

func pruneBuildCache(cmd *cobra.Command, force bool) error {
	if !force {
		yes, err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr(), "WARNING! This will remove the build cache.")
		if err != nil || !yes {
			return err
		}
	}
	ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
	defer free()
	client, err := startClient(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	freed, err := client.PruneStore(ctx, sandbox.PruneStoreRequest{BuildCache: true})
	if err = errors.Join(causeOf(ctx, err), client.Close()); err != nil {
		return err
	}
	return printPrunedCache(cmd, freed)
}

func printPrunedCache(cmd *cobra.Command, freed sandbox.Reclaimed) error {
	out := cmd.OutOrStdout()
	for _, key := range freed.Cache {
		if _, err := fmt.Fprintln(out, printable(key)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "Total:\t%s\n", humanSize(freed.Bytes))
	return err
}
