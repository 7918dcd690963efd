package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// volumePruneFlags are those of the verb volume prune.
type volumePruneFlags struct {
	all, force bool
	filters    []string
}

func newVolumePruneCommand() *cobra.Command {
	f := &volumePruneFlags{}
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove volumes that no container has",
		Long: `Remove anonymous volumes that no container has, running or not; with -a also those with a name.

Filters spare volumes: label=NAME[=VALUE] those without the label, label!=NAME[=VALUE] those with it. all=true is -a.`,
		Example: `  bivouac volume prune -f
  bivouac volume prune -a --filter label=project=demo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "remove also volumes with a name")
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&f.filters, "filter", nil, "remove only what matches `KEY=VALUE`")
	return cmd
}

func (f *volumePruneFlags) run(cmd *cobra.Command) error {
	chosen, err := parseFilters(f.filters, "label", "label!", "all")
	if err != nil {
		return err
	}
	all, err := chosen.boolean("all")
	if err != nil {
		return err
	}
	f.all = f.all || all != nil && *all
	what := "anonymous local volumes"
	if f.all {
		what = "all local volumes"
	}
	w := cmd.OutOrStdout()
	if !f.force {
		agreed, err := confirm(cmd.InOrStdin(), w, "WARNING! This will remove "+what+" not used by at least one container.")
		if err != nil || !agreed {
			return err
		}
	}
	ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
	defer free()
	removed, bytes, err := f.prune(ctx, chosen)
	return causeOf(ctx, writePruned(w, "Deleted Volumes:", removed, bytes, err))
}

// prune removes what no container has. Somebody may take or remove one meanwhile.
func (f *volumePruneFlags) prune(ctx context.Context, chosen filters) (removed []string, bytes int64, err error) {
	list, err := sandbox.Volumes(ctx)
	if err != nil {
		return nil, 0, err
	}
	list = slices.DeleteFunc(list, func(v sandbox.Volume) bool {
		return len(v.Users) > 0 || !v.Anonymous && !f.all || !chosen.labelsFit(v.Labels)
	})
	if len(list) == 0 {
		return nil, 0, nil
	}
	err = withVolumes(ctx, func(client *sandbox.Client) error {
		for _, v := range list {
			n, err := client.ReclaimVolume(ctx, v.Name)
			if code := sandbox.CodeOf(err); code == sandbox.CodeInUse || code == sandbox.CodeNotFound {
				continue
			}
			if err != nil {
				return err
			}
			removed, bytes = append(removed, v.Name), bytes+n
		}
		return nil
	})
	return removed, bytes, err
}

// writePruned prints what was removed, also before an error, as Docker does.
func writePruned(w io.Writer, title string, removed []string, bytes int64, failed error) error {
	if len(removed) > 0 {
		if _, err := fmt.Fprintln(w, title); err != nil {
			return err
		}
		for _, name := range removed {
			if _, err := fmt.Fprintln(w, name); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	_, err := fmt.Fprintf(w, "Total reclaimed space: %s\n", humanSize(bytes))
	return err
}
