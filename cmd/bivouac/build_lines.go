package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildLines shows a build where it will be read later, as BuildKit's plain progress does: each line begins with the number of
// its step. The output of one step at a time is shown; what others say meanwhile waits for its end, or for lineTurn.
type buildLines struct {
	w     io.Writer
	mu    sync.Mutex
	steps *buildSteps
	// shown is the step whose turn it is, since when; nil between two.
	shown *buildStep
	since time.Time
	told  map[int]bool          // whose name was printed
	held  map[int]*bytes.Buffer // what waits for its turn, by step
	order []int                 // of held
	end   chan struct{}
	gone  sync.WaitGroup
}

// lineTurn is how long others wait for a step that goes on and on.
const lineTurn = 5 * time.Second

func newBuildLines(w io.Writer) *buildLines {
	v := &buildLines{w: w, steps: newBuildSteps(), told: map[int]bool{}, held: map[int]*bytes.Buffer{}, end: make(chan struct{})}
	v.gone.Go(v.watch)
	return v
}

// watch gives others their turn also while nothing happens.
func (v *buildLines) watch() {
	ticker := time.NewTicker(lineTurn / 5)
	defer ticker.Stop()
	for {
		select {
		case <-v.end:
			return
		case now := <-ticker.C:
			v.mu.Lock()
			v.turn(now)
			v.mu.Unlock()
		}
	}
}

func (v *buildLines) event(e sandbox.BuildEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, lines := v.steps.take(e)
	v.say(s, e, lines)
	v.turn(e.Time)
}

// say has a step print what an event is about, or puts it by.
func (v *buildLines) say(s *buildStep, e sandbox.BuildEvent, lines []buildLine) {
	var text bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&text, "#%d %.3f %s\n", s.number, l.at.Seconds(), l.text)
	}
	switch e.Kind {
	case "progress":
		s.printTransfer(&text, e)
	case "warning":
		fmt.Fprintf(&text, "#%d WARN: %s\n", s.number, printable(string(e.Text)))
	case "cached":
		fmt.Fprintf(&text, "#%d CACHED\n", s.number)
	case "done":
		fmt.Fprintf(&text, "#%d DONE %s\n", s.number, seconds(s.took()))
	case "failed":
		fmt.Fprintf(&text, "#%d ERROR: %s\n", s.number, s.failure)
	}
	if text.Len() == 0 && e.Kind != "start" {
		return
	}
	if v.shown == nil {
		v.begin(s, e.Time)
	}
	if v.shown != s {
		v.hold(s).Write(text.Bytes())
		return
	}
	v.print(text.Bytes())
	if s.state != "" {
		v.shown = nil
	}
}

// printTransfer prints the beginning and the end of a transfer.
func (s *buildStep) printTransfer(w io.Writer, e sandbox.BuildEvent) {
	for _, t := range s.transfers {
		if t.name == e.Layer && (t.isDone() || t.began.Equal(e.Time)) {
			fmt.Fprintf(w, "#%d %s %s\n", s.number, t, seconds(e.Time.Sub(t.began)))
		}
	}
}

func (v *buildLines) hold(s *buildStep) *bytes.Buffer {
	if v.held[s.number] == nil {
		v.held[s.number] = &bytes.Buffer{}
		v.order = append(v.order, s.number)
	}
	return v.held[s.number]
}

// begin makes it a step's turn.
func (v *buildLines) begin(s *buildStep, now time.Time) {
	if len(v.told) > 0 {
		v.print([]byte("\n"))
	}
	v.shown, v.since = s, now
	if s.name != "" {
		v.print([]byte(fmt.Sprintf("#%d %s\n", s.number, s.name)))
	}
	v.told[s.number] = true
}

// turn lets those speak that wait, if the step that is shown has ended or had its time.
func (v *buildLines) turn(now time.Time) {
	for len(v.order) > 0 && (v.shown == nil || now.Sub(v.since) >= lineTurn) {
		if v.shown != nil {
			v.print([]byte(fmt.Sprintf("#%d ...\n", v.shown.number)))
		}
		s := v.steps.at[v.order[0]]
		text := v.held[s.number]
		delete(v.held, s.number)
		v.order = v.order[1:]
		v.begin(s, now)
		v.print(text.Bytes())
		if s.state != "" {
			v.shown = nil
		}
	}
}

// print does not mind a broken standard error: the build is what counts.
func (v *buildLines) print(text []byte) { _, _ = v.w.Write(text) }

func (v *buildLines) finish(err error) {
	close(v.end)
	v.gone.Wait()
	for len(v.order) > 0 { // whoever was shown to the end is not under way any more
		v.shown = nil
		v.turn(time.Time{})
	}
	v.steps.explain(v.w, err)
}

func (v *buildLines) made(id string, names []string) {
	if steps := v.steps.list; len(steps) > 0 {
		tellImage(v.w, fmt.Sprintf("#%d ", steps[len(steps)-1].number), " done", id, names)
	}
}
