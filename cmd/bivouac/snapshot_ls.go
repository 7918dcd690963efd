package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// snapshotLsFlags are those of the verb snapshot ls.
type snapshotLsFlags struct {
	quiet, noTrunc bool
	format         string
}

func newSnapshotLsCommand() *cobra.Command {
	f := &snapshotLsFlags{}
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"list"},
		Short:   "List the snapshots of the store",
		Long: `List the snapshots of the store, the youngest first. TIER is what a snapshot holds: files, or processes as well. SIZE is
what it takes of the disk by itself; USED is when a clone was last made from it.

Templates know .ID .Name .Image .Tier .Quality .Processes .Size .CreatedSince .CreatedAt .UsedSince .UsedAt .Key and
the functions json, upper, lower, title, split, join, pad and truncate.`,
		Example: `  bivouac snapshot ls
  bivouac snapshot ls --format '{{.Name}} {{.Tier}}'
  bivouac snapshot rm $(bivouac snapshot ls -q)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSnapshots(cmd.Context(), func(client snapshots) error { return f.run(cmd.Context(), cmd.OutOrStdout(), client) })
		},
	}
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print ids only")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "print whole ids")
	cmd.Flags().StringVar(&f.format, "format", "", listingUsage)
	return cmd
}

func (f *snapshotLsFlags) run(ctx context.Context, w io.Writer, client snapshots) error {
	list, err := client.Snapshots(ctx)
	if err != nil {
		return err
	}
	const columns = `{{.Name}}\t{{.ID}}\t{{.Image}}\t{{.Tier}}\t{{.Size}}\t{{.CreatedSince}}\t{{.UsedSince}}`
	return writeListing(w, f.format, f.quiet, columns, f.rows(list, time.Now()), snapshotHeader)
}

// snapshotRow is a snapshot as it is printed.
type snapshotRow struct {
	ID, Name, Image, Tier, Quality, Processes, Size string
	CreatedSince, CreatedAt, UsedSince, UsedAt, Key string
}

var snapshotHeader = snapshotRow{
	ID: "SNAPSHOT ID", Name: "NAME", Image: "IMAGE", Tier: "TIER", Quality: "QUALITY", Processes: "PROCESSES", Size: "SIZE",
	CreatedSince: "CREATED", CreatedAt: "CREATED AT", UsedSince: "USED", UsedAt: "USED AT", Key: "KEY",
}

func (f *snapshotLsFlags) rows(list []sandbox.Snapshot, now time.Time) []snapshotRow {
	rows := make([]snapshotRow, len(list))
	for i, s := range list {
		rows[i] = snapshotRow{
			ID: s.ID[:min(12, len(s.ID))], Name: printable(s.Name), Image: imageName(s.Image.Name), Tier: printable(string(s.Tier)),
			Quality: printable(string(s.Quality)), Processes: fmt.Sprint(s.Processes), Size: humanSize(s.Size), Key: printable(s.Key),
		}
		if f.noTrunc {
			rows[i].ID = s.ID
		}
		rows[i].CreatedSince, rows[i].CreatedAt = describeTime(s.Created, now)
		rows[i].UsedSince, rows[i].UsedAt = describeTime(s.Used, now)
	}
	return rows
}

// describeTime tells how long ago something was, and when.
func describeTime(t, now time.Time) (since, at string) {
	if t.IsZero() {
		return "never", "never"
	}
	return ago(t, now), createdAt(t)
}
