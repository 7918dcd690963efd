package main

import (
	"fmt"
	"io"

	"github.com/bivouac-run/bivouac/sandbox"
)

// lines shows progress where it will be read later, as in a log.
type lines struct {
	w     io.Writer
	words progressWords
}

func newLines(w io.Writer, words progressWords) *lines { return &lines{w, words} }

func (l *lines) report(step sandbox.Progress) {
	switch step.Kind {
	case "start":
		l.print(layerName(step.Layer) + ": " + l.begun(step))
	case "done":
		l.print(layerName(step.Layer) + ": " + l.words.done)
	case "retry", "note", "exists":
		l.print(remark(step))
	}
}

func (l *lines) begun(step sandbox.Progress) string {
	switch {
	case step.Current > 0 && step.Current >= step.Total:
		return l.words.moved
	case step.Current > 0:
		return fmt.Sprintf("%s the rest of %s from %s on", l.words.moving, humanSize(step.Total), humanSize(step.Current))
	case step.Total > 0:
		return l.words.moving + " " + humanSize(step.Total)
	}
	return l.words.moving
}

// print does not mind a broken standard error: the pull is what counts.
func (l *lines) print(line string) { _, _ = fmt.Fprintln(l.w, line) }

func (l *lines) finish() {}
