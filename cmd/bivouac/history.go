package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

// historyFlags are those of the verb history.
type historyFlags struct {
	human, noTrunc, quiet bool
	format, platform      string
}

func newHistoryCommand() *cobra.Command {
	f := &historyFlags{}
	cmd := &cobra.Command{
		Use:   "history [flags] IMAGE",
		Short: "Show how an image was made",
		Long: `Show how an image was made, the last step first. SIZE is that of the files that a step has changed. Only the last step has
an id: those before it are <missing>, as images are stored by layers. IMAGE is a name, or an id or its beginning.

Templates know .ID .CreatedSince .CreatedAt .CreatedBy .Size .Comment and the functions json, upper, lower, title, split,
join, pad and truncate.`,
		Example: `  bivouac history postgres:16
  bivouac history --no-trunc --format '{{.CreatedBy}}' postgres:16`,
		Args: cobra.ExactArgs(1),
		RunE: f.run,
	}
	cmd.Flags().BoolVarP(&f.human, "human", "H", true, "print sizes and times for people")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "print whole ids and steps")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print ids only")
	cmd.Flags().StringVar(&f.format, "format", "", listingUsage)
	cmd.Flags().StringVar(&f.platform, "platform", "", "show the image for `OS/ARCH[/VARIANT]` instead of the machine's")
	return cmd
}

func (f *historyFlags) run(cmd *cobra.Command, args []string) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	steps, id, err := store.History(storedName(args[0]), f.platform)
	if err != nil {
		return err
	}
	columns := `{{.ID}}\t` + "{{.CreatedSince}}" + `\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`
	if !f.human {
		columns = strings.Replace(columns, "CreatedSince", "CreatedAt", 1)
	}
	return writeListing(cmd.OutOrStdout(), f.format, f.quiet, columns, f.rows(steps, id, time.Now()), historyHeader)
}

// historyRow is a step as it is printed. Its fields have Docker's names.
type historyRow struct{ ID, CreatedSince, CreatedAt, CreatedBy, Size, Comment string }

var historyHeader = historyRow{ID: "IMAGE", CreatedSince: "CREATED", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", Size: "SIZE", Comment: "COMMENT"}

func (f *historyFlags) rows(steps []rootfs.Step, id digest.Digest, now time.Time) []historyRow {
	rows := make([]historyRow, len(steps))
	for i, s := range steps {
		rows[i] = historyRow{ID: "<missing>", CreatedSince: "N/A", CreatedAt: "N/A", CreatedBy: f.shorten(s.CreatedBy),
			Size: strconv.FormatInt(s.Size, 10), Comment: printable(s.Comment)}
		if i == 0 {
			rows[i].ID = shortID(id)
			if f.noTrunc {
				rows[i].ID = id.String()
			}
		}
		if f.human {
			rows[i].Size = humanSize(s.Size)
		}
		if !s.Created.IsZero() {
			rows[i].CreatedSince = ago(s.Created, now)
			rows[i].CreatedAt = s.Created.Local().Format(time.RFC3339)
		}
	}
	return rows
}

// shorten keeps the columns on one line.
func (f *historyFlags) shorten(text string) string {
	const limit = 45
	text = printable(text)
	if runes := []rune(text); !f.noTrunc && len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}
