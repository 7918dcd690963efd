package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

const dfColumns = `{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`

func newSystemDfCommand() *cobra.Command {
	format, verbose := "", false
	cmd := &cobra.Command{
		Use:   "df [flags]",
		Short: "Show what takes how much of the disk",
		Long: `Show what images, containers that are kept, volumes, the build cache and snapshots take of the disk, as du counts it, and how
much of that is needed by nothing that runs or is kept. Images and their layers that several share count once.

With -v each is listed: of an image what is its own and what it shares with others, of a layer its blob, as it came, and its
files, as they are unpacked.`,
		Example: `  bivouac system df
  bivouac system df -v
  bivouac system df --format '{{.Type}}: {{.Reclaimable}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			usage, err := measureStore(cmd.Context())
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			switch {
			case verbose && format == "json":
				return writeJSON(w, []sandbox.DiskUsage{usage})
			case verbose && format != "":
				return usageErrorf("system df -v takes no --format but json")
			case verbose:
				return writeUsage(w, &usage)
			}
			return writeListing(w, format, false, dfColumns, dfRows(&usage), dfHeader)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list each image, layer, container, volume, snapshot and cache entry")
	cmd.Flags().StringVar(&format, "format", "", listingUsage)
	return cmd
}

func measureStore(ctx context.Context) (usage sandbox.DiskUsage, err error) {
	err = withStore(ctx, func(client *sandbox.Client) error {
		usage, err = client.DiskUsage(ctx)
		return err
	})
	return usage, err
}

// dfRow is a line of system df, with Docker's names.
type dfRow struct{ Type, TotalCount, Active, Size, Reclaimable string }

var dfHeader = dfRow{"TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"}

func dfRows(u *sandbox.DiskUsage) []dfRow {
	images := dfSum{size: u.ImagesSize, free: u.ImagesSpare}
	for _, i := range u.Images {
		images.total++
		images.active += one(i.Containers > 0)
	}
	containers, volumes, cache, snapshots := dfSum{}, dfSum{}, dfSum{}, dfSum{}
	for _, c := range u.Containers {
		containers.add(c.Size, isUp(c.State))
	}
	for _, v := range u.Volumes {
		volumes.add(v.Size, v.Containers > 0)
	}
	for _, c := range u.BuildCache {
		cache.add(c.Size, false)
	}
	for _, s := range u.Snapshots {
		snapshots.add(s.Size, false)
	}
	rows := []dfRow{images.row("Images"), containers.row("Containers"), volumes.row("Local Volumes"), cache.row("Build Cache"), snapshots.row("Snapshots")}
	if u.Other > 0 {
		rows = append(rows, (&dfSum{size: u.Other, free: u.Other}).row("Leftovers"))
	}
	return rows
}

// dfSum adds up things of one kind.
type dfSum struct {
	total, active int
	size, free    int64
}

func (s *dfSum) add(size int64, active bool) {
	s.total++
	s.size += size
	if active {
		s.active++
	} else {
		s.free += size
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (s *dfSum) row(kind string) dfRow {
	free := humanSize(s.free)
	if s.size > 0 {
		free += fmt.Sprintf(" (%d%%)", s.free*100/s.size)
	}
	return dfRow{kind, strconv.Itoa(s.total), strconv.Itoa(s.active), humanSize(s.size), free}
}

// writeUsage is what -v prints.
func writeUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var out bytes.Buffer
	for _, write := range []func(io.Writer, *sandbox.DiskUsage) error{
		writeImageUsage, writeLayerUsage, writeContainerUsage, writeVolumeUsage, writeSnapshotUsage, writeCacheUsage,
	} {
		if err := write(&out, u); err != nil {
			return err
		}
		out.WriteByte('\n')
	}
	fmt.Fprintf(&out, "Leftovers: %s\n", humanSize(u.Other))
	return show(w, out.Bytes())
}
