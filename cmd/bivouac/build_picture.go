package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildPicture shows a build to somebody who watches, as BuildKit does: a line for each step, with the last lines of output of
// those under way, drawn again and again.
type buildPicture struct {
	w    io.Writer
	size func() (columns, rows int)
	now  func() time.Time

	mu    sync.Mutex
	steps *buildSteps
	began time.Time
	drawn int // lines of the last picture
	end   chan struct{}
	gone  sync.WaitGroup
}

// pictureRate is how often a build is drawn.
const pictureRate = 100 * time.Millisecond

func newBuildPicture(w *os.File) *buildPicture {
	size := func() (int, int) {
		columns, rows, err := term.GetSize(int(w.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	}
	v := makeBuildPicture(w, size, time.Now)
	v.gone.Go(v.watch)
	return v
}

func makeBuildPicture(w io.Writer, size func() (int, int), now func() time.Time) *buildPicture {
	return &buildPicture{w: w, size: size, now: now, steps: newBuildSteps(), began: now(), end: make(chan struct{})}
}

func (v *buildPicture) watch() {
	ticker := time.NewTicker(pictureRate)
	defer ticker.Stop()
	for {
		select {
		case <-v.end:
			return
		case <-ticker.C:
			v.draw(false)
		}
	}
}

func (v *buildPicture) event(e sandbox.BuildEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.steps.take(e)
}

func (v *buildPicture) finish(err error) {
	close(v.end)
	v.gone.Wait()
	v.draw(true)
	v.steps.explain(v.w, err)
}

// draw draws over the last picture. The last one of all shows every step, however many lines the terminal has.
func (v *buildPicture) draw(last bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.steps.list) == 0 {
		return
	}
	columns, rows := v.size()
	lines := v.lines(columns, last)
	if limit := max(rows-1, 2); !last && len(lines) > limit { // the header and the newest
		lines = append(lines[:1], lines[len(lines)-limit+1:]...)
	}
	var out bytes.Buffer
	out.WriteString("\x1b[?25l")
	if v.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r", v.drawn)
	}
	for _, l := range lines {
		out.WriteString(l + "\x1b[K\n")
	}
	out.WriteString("\x1b[J\x1b[?25h")
	v.drawn = len(lines)
	_, _ = v.w.Write(out.Bytes()) // with standard error gone there is nobody left to look
}

// lines are those of a picture, without colours.
func (v *buildPicture) lines(columns int, last bool) []string {
	ended := 0
	var body []string
	for _, s := range v.steps.list {
		if s.state != "" {
			ended++
		}
		body = append(body, v.stepLines(s, columns)...)
	}
	header := fmt.Sprintf("[+] Building %s (%d/%d)", seconds(v.now().Sub(v.began)), ended, len(v.steps.list))
	if last && ended == len(v.steps.list) {
		header += " FINISHED"
	}
	return append([]string{fit(header, columns)}, body...)
}

// outputLines is how many lines of a step's output are shown while it runs.
const outputLines = 6

func (v *buildPicture) stepLines(s *buildStep, columns int) []string {
	took := s.took()
	if s.state == "" {
		took = v.now().Sub(s.began)
	}
	lines := []string{timed(" => "+s.title(), took, columns)}
	for _, t := range s.transfers {
		if s.state == "" || t.isDone() {
			lines = append(lines, timed(" => => "+t.String(), t.last.Sub(t.began), columns))
		}
	}
	for _, w := range s.warnings {
		lines = append(lines, fit(" => => WARN: "+w, columns))
	}
	if s.state == "" {
		for _, l := range s.tail[max(0, len(s.tail)-outputLines):] {
			lines = append(lines, fit(" => => # "+harmless(l.text), columns))
		}
	}
	return lines
}

// timed puts a time to the right end of a line.
func timed(text string, d time.Duration, columns int) string {
	right := fmt.Sprintf(" %6s", seconds(max(0, d)))
	text = fit(text, columns-len(right))
	return text + strings.Repeat(" ", max(0, columns-runewidth.StringWidth(text)-len(right))) + right
}

// fit cuts a line that would not fit into the terminal's.
func fit(text string, columns int) string { return runewidth.Truncate(text, max(columns, 4), "") }

func (v *buildPicture) made(id string, names []string) { tellImage(v.w, " => => ", "", id, names) }
