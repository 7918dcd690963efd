package main

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// writeList prints the changes as `diff` does.
func (t *tried) writeList(w io.Writer) error {
	var out bytes.Buffer
	for _, c := range t.changes {
		fmt.Fprintf(&out, "%s %s\n", c.Kind, printable(c.Path))
	}
	return show(w, out.Bytes())
}

// tryRow is a change in JSON.
type tryRow struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // A, C or D
	// Type and OldType are file, directory, symlink or other; empty where there is nothing.
	Type    string `json:"type,omitempty"`
	OldType string `json:"oldType,omitempty"`
	Mode    string `json:"mode,omitempty"` // octal
	OldMode string `json:"oldMode,omitempty"`
	Size    int64  `json:"size"`
	OldSize int64  `json:"oldSize"`
	// Insertions and Deletions count lines, with --stat and of text alone.
	Insertions *int `json:"insertions,omitempty"`
	Deletions  *int `json:"deletions,omitempty"`
}

func (t *tried) writeJSON(w io.Writer, stat bool) error {
	rows := make([]tryRow, len(t.changes))
	for i, c := range t.changes {
		d, err := t.compare(c, stat)
		if err != nil {
			return err
		}
		rows[i] = tryRow{
			Path: strings.ToValidUTF8(c.Path, "\uFFFD"), Kind: string(c.Kind), Type: d.now.kind, OldType: d.old.kind,
			Mode: d.now.octal(), OldMode: d.old.octal(), Size: d.now.size, OldSize: d.old.size,
		}
		if stat && d.isText {
			rows[i].Insertions, rows[i].Deletions = &d.insertions, &d.deletions
		}
	}
	return writeJSON(w, rows)
}

// writeDiff prints what has changed in files, as git does.
func (t *tried) writeDiff(w io.Writer) error {
	for _, c := range t.changes {
		d, err := t.compare(c, true)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		d.write(&out)
		if err := show(w, out.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// write is nothing for a directory of which other files have changed.
func (d *difference) write(w *bytes.Buffer) {
	name := printable(d.change.Path)
	switch {
	case d.change.Kind == sandbox.ChangeAdded:
		fmt.Fprintf(w, "added %s %s, mode %s\n", d.now.kind, name, d.now.octal())
	case d.change.Kind == sandbox.ChangeDeleted:
		fmt.Fprintf(w, "deleted %s %s%s\n", d.old.kind, name, d.below())
	case d.old.kind != d.now.kind:
		fmt.Fprintf(w, "changed %s %s to a %s\n", d.old.kind, name, d.now.kind)
	case d.old.mode != d.now.mode:
		fmt.Fprintf(w, "changed mode of %s from %s to %s\n", name, d.old.octal(), d.now.octal())
	}
	switch {
	case d.isText:
		w.Write(d.lines)
	case d.hasContent():
		fmt.Fprintf(w, "%s: %s\n", name, d.sizes())
	}
}

func (d *difference) below() string {
	if d.files == 0 {
		return ""
	}
	return fmt.Sprintf(" with %d files", d.files)
}

// sizes is what is said of a file that is no text.
func (d *difference) sizes() string { return fmt.Sprintf("%d -> %d bytes", d.old.size, d.now.size) }

// graphWidth is how many signs stand for the most lines of a file.
const graphWidth = 40

// writeStat prints how much has changed, as `git diff --stat` does.
func (t *tried) writeStat(w io.Writer) error {
	var list []difference
	width, most := 0, 0
	for _, c := range t.changes {
		d, err := t.compare(c, true)
		if err != nil {
			return err
		}
		if d.change.Kind == sandbox.ChangeModified && !d.hasContent() && d.old.mode == d.now.mode && d.old.kind == d.now.kind {
			continue // a directory in which other files have changed
		}
		d.lines = nil
		list = append(list, d)
		width, most = max(width, len([]rune(printable(c.Path)))), max(most, d.insertions+d.deletions)
	}
	var out bytes.Buffer
	insertions, deletions := 0, 0
	for _, d := range list {
		fmt.Fprintf(&out, " %-*s | %s\n", width, printable(d.change.Path), d.statLine(most))
		insertions, deletions = insertions+d.insertions, deletions+d.deletions
	}
	fmt.Fprintf(&out, " %s changed, %s(+), %s(-)\n", countOf(len(list), "path"), countOf(insertions, "insertion"), countOf(deletions, "deletion"))
	return show(w, out.Bytes())
}

func countOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (d *difference) statLine(most int) string {
	switch {
	case d.isText:
		scale := func(n int) int {
			if most <= graphWidth || n == 0 {
				return n
			}
			return max(1, n*graphWidth/most)
		}
		return fmt.Sprintf("%5d %s%s", d.insertions+d.deletions, strings.Repeat("+", scale(d.insertions)), strings.Repeat("-", scale(d.deletions)))
	case d.hasContent():
		return "Bin " + d.sizes()
	case d.change.Kind == sandbox.ChangeDeleted:
		return d.old.kind + " deleted" + d.below()
	case d.old.kind == d.now.kind:
		return fmt.Sprintf("mode %s -> %s", d.old.octal(), d.now.octal())
	}
	return strings.TrimPrefix(d.old.kind+" -> "+d.now.kind, " -> ")
}

// diffNames are the names of a file in the head of a diff.
func diffNames(p string) (old, now string) {
	p = printable(p)
	return path.Join("a", p), path.Join("b", p)
}
