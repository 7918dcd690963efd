package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// cells is a row of a table that has no fields of its own.
type cells struct{ C []string }

// writeCells prints a title and a table.
func writeCells(w io.Writer, title string, header []string, rows []cells) error {
	if _, err := fmt.Fprintf(w, "%s\n\n", title); err != nil {
		return err
	}
	columns := make([]string, len(header))
	for i := range header {
		columns[i] = fmt.Sprintf("{{index .C %d}}", i)
	}
	return writeTable(w, strings.Join(columns, `\t`), rows, cells{header})
}

func writeImageUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var rows []cells
	for _, i := range u.Images {
		names := i.Names
		if len(names) == 0 {
			names = []string{"<none>"}
		}
		for _, name := range names {
			rows = append(rows, cells{[]string{printable(name), shortOf(i.ID), agoOf(i.Made), humanSize(i.Shared + i.Unique),
				humanSize(i.Shared), humanSize(i.Unique), strconv.Itoa(i.Containers)}})
		}
	}
	return writeCells(w, "Images space usage:",
		[]string{"IMAGE", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"}, rows)
}

func writeLayerUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var rows []cells
	for _, l := range u.Layers {
		rows = append(rows, cells{[]string{shortOf(l.DiffID), humanSize(l.Blob), humanSize(l.Files), strconv.Itoa(l.Images)}})
	}
	return writeCells(w, "Layers space usage:", []string{"DIFF ID", "BLOB", "FILES", "IMAGES"}, rows)
}

func writeContainerUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var rows []cells
	for _, c := range u.Containers {
		rows = append(rows, cells{[]string{shortOf(c.ID), printable(imageName(c.Image)), humanSize(c.Size), string(c.State), c.Name}})
	}
	return writeCells(w, "Containers space usage:", []string{"CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"}, rows)
}

func writeVolumeUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var rows []cells
	for _, v := range u.Volumes {
		rows = append(rows, cells{[]string{v.Name, strconv.Itoa(v.Containers), humanSize(v.Size)}})
	}
	return writeCells(w, "Local Volumes space usage:", []string{"VOLUME NAME", "LINKS", "SIZE"}, rows)
}

func writeSnapshotUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var rows []cells
	for _, s := range u.Snapshots {
		rows = append(rows, cells{[]string{shortOf(s.ID), humanSize(s.Size)}})
	}
	return writeCells(w, "Snapshots space usage:", []string{"SNAPSHOT ID", "SIZE"}, rows)
}

func writeCacheUsage(w io.Writer, u *sandbox.DiskUsage) error {
	var rows []cells
	size := int64(0)
	for _, c := range u.BuildCache {
		size += c.Size
		rows = append(rows, cells{[]string{shortOf(c.Key), c.Kind, humanSize(c.Size), agoOf(c.Used), truncate(printable(c.Text), 60)}})
	}
	return writeCells(w, "Build cache usage: "+humanSize(size), []string{"CACHE ID", "CACHE TYPE", "SIZE", "LAST USED", "STEP"}, rows)
}

// shortOf is the beginning of an id or digest.
func shortOf(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

func agoOf(t time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return ago(t, time.Now())
}
