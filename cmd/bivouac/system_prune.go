package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// systemPruneFlags are those of system prune.
type systemPruneFlags struct {
	all, volumes, force bool
	filters             []string
}

func newSystemPruneCommand() *cobra.Command {
	f := &systemPruneFlags{}
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove what nothing needs",
		Long: `Remove containers that do not run, images without a name that no container or snapshot has, the build cache, and what killed
commands have left, after a question. With -a images with a name go too, if no container or snapshot has them; with --volumes
anonymous volumes that no container has. Snapshots stay: bivouac snapshot rm removes them.

Filters limit that: until=TIME to what was made before a time, or longer ago than a duration; label=NAME[=VALUE] to what has a
label, label!=NAME[=VALUE] to what has not. What has no labels, as the build cache, is then spared.`,
		Example: `  bivouac system prune -f
  bivouac system prune -a --volumes
  bivouac system prune -f --filter until=24h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "remove also images with a name that nothing has")
	cmd.Flags().BoolVar(&f.volumes, "volumes", false, "remove also anonymous volumes that no container has")
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&f.filters, "filter", nil, "remove only what matches `KEY=VALUE`")
	return cmd
}

func (f *systemPruneFlags) run(cmd *cobra.Command) error {
	chosen, err := parseFilters(f.filters, "until", "label", "label!")
	if err != nil {
		return err
	}
	before, err := chosen.until(time.Now())
	if err != nil {
		return err
	}
	if f.volumes && !before.IsZero() {
		return usageErrorf("system prune: the filter until does not go with --volumes, which have no time of their last use")
	}
	if !f.force {
		yes, err := confirm(cmd.InOrStdin(), cmd.OutOrStdout(), f.warning())
		if err != nil || !yes {
			return err
		}
	}
	ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
	defer free()
	return causeOf(ctx, f.prune(ctx, cmd.OutOrStdout(), chosen, before))
}

func (f *systemPruneFlags) warning() string {
	parts := []string{"all stopped containers"}
	if f.volumes {
		parts = append(parts, "all anonymous volumes not used by at least one container")
	}
	if f.all {
		parts = append(parts, "all images without at least one container or snapshot associated to them")
	} else {
		parts = append(parts, "all dangling images")
	}
	parts = append(parts, "all build cache")
	return "WARNING! This will remove:\n  - " + strings.Join(parts, "\n  - ") + "\n"
}

// prune goes on after failures: what can go goes.
func (f *systemPruneFlags) prune(ctx context.Context, w io.Writer, chosen filters, before time.Time) error {
	containers, err := pruneStopped(ctx, chosen, before)
	var volumes []string
	var bytes int64
	if f.volumes {
		var e error
		volumes, bytes, e = (&volumePruneFlags{}).prune(ctx, chosen)
		err = errors.Join(err, e)
	}
	bytes += containers.bytes
	e := withStore(ctx, func(client *sandbox.Client) error {
		freed, err := client.PruneStore(ctx, sandbox.PruneStoreRequest{Images: true, AllImages: f.all,
			BuildCache: !chosen.has("label") && !chosen.has("label!"), Before: before, Labels: chosen.labels()})
		bytes += freed.Bytes
		return errors.Join(err, writeSections(w, []section{{"Deleted Containers:", containers.ids}, {"Deleted Volumes:", volumes},
			{"Deleted Images:", removalLines(freed.Removed)}, {"Deleted build cache objects:", freed.Cache}}))
	})
	if err = errors.Join(err, e); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "Total reclaimed space: %s\n", humanSize(bytes))
	return err
}

func pruneStopped(ctx context.Context, chosen filters, before time.Time) (pruned, error) {
	list, err := sandbox.Records()
	if err != nil {
		return pruned{}, err
	}
	list = slices.DeleteFunc(list, func(r sandbox.Record) bool {
		return isUp(r.State) || !before.IsZero() && !r.Created.Before(before) || !chosen.labelsFit(r.Labels)
	})
	r := &remover{}
	done, err := r.prune(ctx, list)
	return done, errors.Join(err, r.close())
}

// labels are the label filters as the keeper takes them.
func (f filters) labels() []string {
	list := slices.Clone(f["label"])
	for _, text := range f["label!"] {
		list = append(list, "!"+text)
	}
	return list
}

// removalLines are Docker's words for what became of images.
func removalLines(removed []sandbox.RemovedImage) []string {
	var lines []string
	for _, r := range removed {
		if r.Untagged != "" {
			lines = append(lines, "untagged: "+printable(r.Untagged))
		} else {
			lines = append(lines, "deleted: "+r.Deleted)
		}
	}
	return lines
}

// section is a list with a title, which is not printed without one.
type section struct {
	title string
	lines []string
}

func writeSections(w io.Writer, sections []section) error {
	for _, s := range sections {
		if len(s.lines) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n%s\n\n", s.title, strings.Join(s.lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}
