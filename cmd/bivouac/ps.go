package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// psFlags are those of the verb ps.
type psFlags struct {
	all, quiet, noTrunc, latest, size bool
	last                              int
	format                            string
	filters                           []string
}

func newPsCommand() *cobra.Command {
	f := &psFlags{}
	cmd := &cobra.Command{
		Use:   "ps [flags]",
		Short: "List containers",
		Long: `List the containers of yours that run, or with -a all of them: those of "bivouac run" and "bivouac test", wherever they were
started, those that a Go program left behind on purpose, and those that are kept. There is no daemon to ask: the store
has a record of what is kept, and whoever runs has a socket in $XDG_RUNTIME_DIR/bivouac, which vanishes with it.

Filters of one kind widen the list and those of different kinds limit it, but for label, of which all have to fit:
  id=ID  name=REGEXP  label=NAME[=VALUE]  exited=CODE  status=created|running|paused|restarting|exited
  ancestor=IMAGE  before=CONTAINER  since=CONTAINER  volume=NAME|PATH  publish=PORT  expose=PORT
  health=starting|healthy|unhealthy|none  network=none|host

Templates know .ID .Image .Command .CreatedAt .RunningFor .Status .State .Size .Ports .Names .Labels .Label "NAME"
.Mounts .LocalVolumes .Networks. "table TEMPLATE" prints columns, separated in the template by \t.`,
		Example: `  bivouac ps
  bivouac ps -a --filter status=exited --filter label=ci
  bivouac ps --format '{{.Names}}: {{.Ports}}'
  bivouac rm -f $(bivouac ps -aq)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "list also containers whose program does not run")
	cmd.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, "list only what matches `KEY=VALUE`")
	cmd.Flags().StringVar(&f.format, "format", "", listingUsage)
	cmd.Flags().IntVarP(&f.last, "last", "n", -1, "list the last `N` that were created, running or not")
	cmd.Flags().BoolVarP(&f.latest, "latest", "l", false, "list the last one that was created, running or not")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "print ids, commands and mounts in full")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only ids")
	cmd.Flags().BoolVarP(&f.size, "size", "s", false, "print how much each container has written to its file system")
	return cmd
}

func (f *psFlags) run(ctx context.Context, w io.Writer) error {
	chosen, err := parsePsFilters(f.filters)
	if err != nil {
		return err
	}
	list, failed := sandbox.AllRecords(ctx)
	if list, err = f.choose(list, chosen); err != nil {
		return err
	}
	rows := f.rows(list, time.Now())
	if f.size || strings.Contains(f.format, ".Size") {
		if err := addSizes(ctx, list, rows); err != nil {
			return err
		}
	}
	return errors.Join(f.write(w, rows), failed)
}

// choose takes what the flags ask for from all containers, of which the newest is the first.
func (f *psFlags) choose(list []sandbox.Record, chosen *psFilters) ([]sandbox.Record, error) {
	if f.latest {
		f.last = 1
	}
	fits, err := chosen.matcher(list)
	if err != nil {
		return nil, err
	}
	all := f.all || f.last > 0 || chosen.has("status")
	list = slices.DeleteFunc(slices.Clone(list), func(r sandbox.Record) bool { return !all && !isUp(r.State) || !fits(&r) })
	if f.last > 0 {
		list = list[:min(f.last, len(list))]
	}
	return list, nil
}

// isUp tells whether a container's program runs, or will again by itself.
func isUp(s sandbox.State) bool {
	return s == sandbox.StateRunning || s == sandbox.StatePaused || s == sandbox.StateRestarting
}

func (f *psFlags) write(w io.Writer, rows []containerRow) error {
	columns := `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`
	if f.size {
		columns += `\t{{.Size}}`
	}
	return writeListing(w, f.format, f.quiet, columns, rows, containerHeader)
}
