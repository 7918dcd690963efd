package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newContainerPruneCommand() *cobra.Command {
	var force bool
	var texts []string
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove all containers that do not run",
		Long: `Remove all containers that do not run, after a question. Filters limit that: until=TIME to those that were created before a time,
or longer ago than a duration; label=NAME[=VALUE] to those that have a label, label!=NAME[=VALUE] to those that do not.`,
		Example: `  bivouac container prune -f
  bivouac container prune -f --filter until=24h --filter label=ci`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := parseFilters(texts, "until", "label", "label!")
			if err != nil {
				return err
			}
			before, err := chosen.until(time.Now())
			if err != nil {
				return err
			}
			if !force {
				yes, err := confirm(cmd.InOrStdin(), cmd.OutOrStdout(), "WARNING! This will remove all stopped containers.")
				if err != nil || !yes {
					return err
				}
			}
			return pruneContainers(cmd, chosen, before)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&texts, "filter", nil, "remove only what matches `KEY=VALUE`")
	return cmd
}

func pruneContainers(cmd *cobra.Command, chosen filters, before time.Time) error {
	list, err := sandbox.Records()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(r sandbox.Record) bool {
		return isUp(r.State) || !before.IsZero() && !r.Created.Before(before) || !chosen.labelsFit(r.Labels)
	})
	ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
	defer free()
	r := &remover{}
	removed, err := r.prune(ctx, list)
	return errors.Join(printPruned(cmd.OutOrStdout(), removed), causeOf(ctx, err), r.close())
}

// pruned is what has been removed.
type pruned struct {
	ids   []string
	bytes int64
}

// prune removes what does not run, also after failures. What has been started meanwhile stays, and is no failure.
func (r *remover) prune(ctx context.Context, list []sandbox.Record) (done pruned, err error) {
	if len(list) == 0 {
		return done, nil
	}
	client, err := r.keeper(ctx)
	if err != nil {
		return done, err
	}
	sizes, err := client.ContainerSizes(ctx, idsOf(list))
	if err != nil {
		return done, err
	}
	err = forEach(os.Stderr, idsOf(list), func(id string) error {
		err := client.RemoveContainer(ctx, id, false)
		switch sandbox.CodeOf(err) {
		case "":
		case sandbox.CodeInUse, sandbox.CodeNotFound:
			return nil
		default:
			return err
		}
		done.ids = append(done.ids, id)
		done.bytes += sizes[id]
		return nil
	})
	return done, err
}

func idsOf(list []sandbox.Record) []string {
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	return ids
}

// printPruned is Docker's output.
func printPruned(w io.Writer, done pruned) error {
	text := ""
	if len(done.ids) > 0 {
		text = "Deleted Containers:\n" + strings.Join(done.ids, "\n") + "\n\n"
	}
	_, err := fmt.Fprintf(w, "%sTotal reclaimed space: %s\n", text, humanSize(done.bytes))
	return err
}
