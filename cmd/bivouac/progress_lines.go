package main

import (
	"fmt"
	"io"

	"github.com/bivouac-run/bivouac/sandbox"
)

// lines shows progress where it will be read later, as in a log.
type lines struct{ w io.Writer }

func newLines(w io.Writer) *lines { return &lines{w} }

func (l *lines) report(step sandbox.Progress) {
	switch step.Kind {
	case "start":
		l.print(layerName(step.Layer) + ": " + begun(step))
	case "done":
		l.print(layerName(step.Layer) + ": Done")
	case "retry", "note", "exists":
		l.print(remark(step))
	}
}

func begun(step sandbox.Progress) string {
	switch {
	case step.Current > 0 && step.Current >= step.Total:
		return "Unpacking"
	case step.Current > 0:
		return fmt.Sprintf("Downloading the rest of %s from %s on", humanSize(step.Total), humanSize(step.Current))
	case step.Total > 0:
		return "Downloading " + humanSize(step.Total)
	}
	return "Downloading"
}

// print does not mind a broken standard error: the pull is what counts.
func (l *lines) print(line string) { _, _ = fmt.Fprintln(l.w, line) }

func (l *lines) finish() {}
