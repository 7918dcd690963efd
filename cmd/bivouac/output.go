package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// isTerminal tells whether somebody is likely to look at what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// canDraw tells whether w is a terminal that can move its cursor and knows its size.
func canDraw(w *os.File) bool {
	columns, rows, err := term.GetSize(int(w.Fd()))
	return err == nil && columns > 0 && rows > 0 && !isDumb()
}

// canColour honours https://no-color.org.
func canColour(w io.Writer) bool { return isTerminal(w) && !isDumb() && os.Getenv("NO_COLOR") == "" }

func isDumb() bool { return os.Getenv("TERM") == "dumb" }

// widthOf is how many characters fit into a line of w, at most limit.
func widthOf(w io.Writer, limit int) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return min(width, limit)
		}
	}
	return limit
}
