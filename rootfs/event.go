package rootfs

import (
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// EventKind says what an Event reports.
type EventKind string

// The kinds of events. Of each layer comes Exists alone, or Start, any number of Progress, Unpack (while or after it
// is downloaded) and Done. Retry and Note come at any time.
const (
	Start    EventKind = "start"    // the download of a blob of Total bytes begins, at Current
	Progress EventKind = "progress" // Current of Total bytes are here
	Unpack   EventKind = "unpack"   // a layer is being unpacked
	Done     EventKind = "done"     // a layer is in the store, checked and unpacked
	Exists   EventKind = "exists"   // a layer was in the store
	Retry    EventKind = "retry"    // a request failed and will be repeated, Text says why
	Note     EventKind = "note"     // Text is something a user wants to know
)

// Event reports progress of a pull.
type Event struct {
	Layer   digest.Digest `json:"layer,omitempty"` // the compressed layer's; empty if it concerns all
	Kind    EventKind     `json:"kind"`
	Current int64         `json:"current,omitempty"` // bytes
	Total   int64         `json:"total,omitempty"`   // bytes
	Text    string        `json:"text,omitempty"`
}

// reporter hands events of several goroutines to one function, one at a time.
type reporter struct {
	mu   sync.Mutex
	sink func(Event)
}

func (r *reporter) send(e Event) {
	if r.sink == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink(e)
}

func (r *reporter) note(text string) { r.send(Event{Kind: Note, Text: text}) }

func (r *reporter) retry(text string) { r.send(Event{Kind: Retry, Text: text}) }

// progressInterval limits the Progress events of one layer.
const progressInterval = 100 * time.Millisecond

// progressReader reports what is read through it.
type progressReader struct {
	io.Reader
	report *reporter
	at     Event
	last   time.Time
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.at.Current += int64(n)
	if now := time.Now(); now.Sub(p.last) >= progressInterval {
		p.last = now
		p.report.send(p.at)
	}
	return n, err
}
