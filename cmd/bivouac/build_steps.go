package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildSteps is what is known of the steps of a build, from its events.
type buildSteps struct {
	list []*buildStep // in the order in which they were first told of
	at   map[int]*buildStep
}

// buildStep is one step of a build.
type buildStep struct {
	number       int
	name         string
	began, ended time.Time
	state        string // kind of the event that ended it; empty while it is under way
	failure      string
	warnings     []string
	transfers    []*buildTransfer
	tail         []buildLine // the last lines of its output
	partial      map[string][]byte
}

// buildLine is one line of a step's output.
type buildLine struct {
	at   time.Duration // since the step's start
	text []byte
}

// buildTransfer is one layer, or the like, that a step moves.
type buildTransfer struct {
	name           string
	current, total int64
	began, last    time.Time
}

func (t *buildTransfer) isDone() bool { return t.total > 0 && t.current >= t.total }

func (t *buildTransfer) String() string {
	name := printable(t.name)
	if algorithm, digits, ok := strings.Cut(name, ":"); ok && len(digits) == 64 {
		name = algorithm + ":" + digits[:12]
	}
	text := name + " " + humanSize(t.current)
	if t.total > 0 {
		text += " / " + humanSize(t.total)
	}
	if t.isDone() {
		text += " done"
	}
	return text
}

// tailLines is how many lines of a failed step's output are shown again at the end.
const tailLines = 50

// maxLine bounds what is held of a line that does not end.
const maxLine = 64 << 10

func newBuildSteps() *buildSteps { return &buildSteps{at: map[int]*buildStep{}} }

// of returns the step of an event. One that was never begun is one nevertheless.
func (b *buildSteps) of(e sandbox.BuildEvent) *buildStep {
	s := b.at[e.Step]
	if s == nil {
		s = &buildStep{number: e.Step, began: e.Time, partial: map[string][]byte{}}
		b.at[e.Step] = s
		b.list = append(b.list, s)
	}
	if e.Name != "" {
		s.name = printable(e.Name)
	}
	return s
}

// take notes an event, and returns its step and the lines of output that it has made whole.
func (b *buildSteps) take(e sandbox.BuildEvent) (*buildStep, []buildLine) {
	s := b.of(e)
	var lines []buildLine
	switch e.Kind {
	case "log":
		lines = s.output(e)
	case "progress":
		s.transfer(e)
	case "warning":
		s.warnings = append(s.warnings, printable(string(e.Text)))
	case "cached", "done", "failed":
		lines = s.rest(e.Time)
		s.state, s.ended = e.Kind, e.Time
		if e.Kind == "failed" {
			s.failure = printable(string(e.Text))
		}
	}
	s.tail = append(s.tail, lines...)
	s.tail = s.tail[max(0, len(s.tail)-tailLines):]
	return s, lines
}

// output cuts what a program has written into lines. What has no end yet waits for it.
func (s *buildStep) output(e sandbox.BuildEvent) (lines []buildLine) {
	text := append(s.partial[e.Stream], e.Text...)
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole && len(text) < maxLine {
			break
		}
		lines = append(lines, buildLine{e.Time.Sub(s.began), bytes.TrimSuffix(line, []byte("\r"))})
		text = rest
	}
	s.partial[e.Stream] = bytes.Clone(text)
	return lines
}

// rest is what a program has written last without an end of line.
func (s *buildStep) rest(now time.Time) (lines []buildLine) {
	for _, stream := range []string{"stdout", "stderr", ""} {
		if text := s.partial[stream]; len(text) > 0 {
			lines = append(lines, buildLine{now.Sub(s.began), text})
		}
		delete(s.partial, stream)
	}
	return lines
}

func (s *buildStep) transfer(e sandbox.BuildEvent) {
	for _, t := range s.transfers {
		if t.name == e.Layer {
			t.current, t.total, t.last = e.Current, e.Total, e.Time
			return
		}
	}
	s.transfers = append(s.transfers, &buildTransfer{e.Layer, e.Current, e.Total, e.Time, e.Time})
}

func (s *buildStep) took() time.Duration { return max(0, s.ended.Sub(s.began)) }

// title is the name with what has become of the step.
func (s *buildStep) title() string {
	switch s.state {
	case "cached":
		return "CACHED " + s.name
	case "failed":
		return "ERROR " + s.name
	}
	return s.name
}

// seconds are written with one digit after the point, as BuildKit does.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// harmless takes out of a line of a program's output what would move a terminal's cursor or change its colours. Unlike
// [printable] it leaves spaces as they are.
func harmless(line []byte) string {
	var out strings.Builder
	text := []rune(strings.ToValidUTF8(string(line), "?"))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; {
		case r == '\x1b' && i+1 < len(text) && text[i+1] == '[': // a control sequence (ECMA-48, 5.4)
			for i += 2; i < len(text) && (text[i] < '@' || text[i] > '~'); i++ {
			}
		case r == '\t':
			out.WriteString("    ")
		case r == '\r': // programs draw over their own lines
			out.Reset()
		case unicode.IsPrint(r):
			out.WriteRune(r)
		}
	}
	return out.String()
}
