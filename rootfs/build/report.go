package build

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/bivouac-run/bivouac/rootfs"
)

// reporter hands events of several goroutines to one function, one at a time.
type reporter struct {
	mu    sync.Mutex
	sink  func(Event)
	steps int
}

func (r *reporter) send(e Event) {
	if r.sink == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink(e)
}

// step is one numbered step of a build. It is told of when it begins.
type step struct {
	report *reporter
	number int
	name   string
	begun  bool
}

// plan numbers a step.
func (r *reporter) plan(name string) *step {
	r.steps++
	return &step{report: r, number: r.steps, name: name}
}

func (s *step) start() {
	if !s.begun {
		s.begun = true
		s.tell(Event{Kind: EventStart, Name: s.name})
	}
}

func (s *step) tell(e Event) {
	e.Step = s.number
	s.report.send(e)
}

func (s *step) warn(format string, args ...any) {
	s.start()
	s.tell(Event{Kind: EventWarning, Text: fmt.Appendf(nil, format, args...)})
}

// end tells how a step ended; a nil error is a good end.
func (s *step) end(err error, cached bool) {
	s.start()
	switch {
	case err != nil:
		s.tell(Event{Kind: EventFailed, Text: []byte(err.Error())})
	case cached:
		s.tell(Event{Kind: EventCached})
	default:
		s.tell(Event{Kind: EventDone})
	}
}

// transfer hands on what a pull or push tells.
func (s *step) transfer(e rootfs.Event) {
	switch e.Kind {
	case rootfs.Note, rootfs.Retry:
		s.warn("%s", e.Text)
	case rootfs.Start, rootfs.Progress, rootfs.Done, rootfs.Exists:
		s.tell(Event{Kind: EventProgress, Current: e.Current, Total: e.Total, Layer: e.Layer.String()})
	}
}

// output is a stream of a program.
type output struct {
	step   *step
	stream string
}

func (o output) Write(p []byte) (int, error) {
	o.step.tell(Event{Kind: EventLog, Stream: o.stream, Text: bytes.Clone(p)})
	return len(p), nil
}
