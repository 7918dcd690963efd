package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newImagePruneCommand() *cobra.Command {
	force, all := false, false
	var texts []string
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove images that nothing needs",
		Long: `Remove images without a name that no container or snapshot has, after a question; with -a also those with a name. Layers that
other images have stay. So does what a build has in its cache: bivouac builder prune removes that.

Filters limit that: until=TIME to images that were made before a time, or longer ago than a duration; label=NAME[=VALUE] to those
that have a label, label!=NAME[=VALUE] to those that do not; dangling=false is -a.`,
		Example: `  bivouac image prune -f
  bivouac image prune -a --filter until=240h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := imagePruneRequest(all, texts)
			if err != nil {
				return err
			}
			what := "all dangling images"
			if r.AllImages {
				what = "all images without at least one container or snapshot associated to them"
			}
			if !force {
				yes, err := confirm(cmd.InOrStdin(), cmd.OutOrStdout(), "WARNING! This will remove "+what+".")
				if err != nil || !yes {
					return err
				}
			}
			return pruneImages(cmd, r)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove also images with a name that nothing has")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&texts, "filter", nil, "remove only what matches `KEY=VALUE`")
	return cmd
}

func imagePruneRequest(all bool, texts []string) (r sandbox.PruneStoreRequest, err error) {
	chosen, err := parseFilters(texts, "until", "label", "label!", "dangling")
	if err != nil {
		return r, err
	}
	dangling, err := chosen.boolean("dangling")
	if err != nil {
		return r, err
	}
	if dangling != nil {
		all = all || !*dangling
	}
	r.Images, r.AllImages, r.Labels = true, all, chosen.labels()
	r.Before, err = chosen.until(time.Now())
	return r, err
}

func pruneImages(cmd *cobra.Command, r sandbox.PruneStoreRequest) error {
	ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
	defer free()
	w := cmd.OutOrStdout()
	return causeOf(ctx, withStore(ctx, func(client *sandbox.Client) error {
		freed, err := client.PruneStore(ctx, r)
		if err != nil {
			return err
		}
		if err := writeSections(w, []section{{"Deleted Images:", removalLines(freed.Removed)}}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "Total reclaimed space: %s\n", humanSize(freed.Bytes))
		return err
	}))
}
