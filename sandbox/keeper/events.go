package keeper

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// bulletin puts events on record, in their order, beside what happens: nobody waits for the disk.
type bulletin struct {
	mu     sync.Mutex
	next   []sandbox.Event
	writer chan struct{} // closed when who writes at present has written all; nil while nobody does
}

// emit puts an event on record soon.
func (b *bulletin) emit(e sandbox.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = append(b.next, e)
	if b.writer == nil {
		b.writer = make(chan struct{})
		go b.write(b.writer)
	}
}

func (b *bulletin) write(done chan struct{}) {
	defer close(done)
	for e, ok := b.take(); ok; e, ok = b.take() {
		if err := sandbox.Emit(e); err != nil {
			fmt.Fprintf(os.Stderr, "bivouac: warning: %v\n", err)
		}
	}
}

// take returns the oldest event; without one nobody writes any more.
func (b *bulletin) take() (e sandbox.Event, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.next) == 0 {
		b.writer = nil
		return e, false
	}
	e, b.next = b.next[0], b.next[1:]
	return e, true
}

// bulletinLimit is how long the keeper's end may wait for the disk.
const bulletinLimit = 2 * time.Second

// flush returns when all is on record, or after a time.
func (b *bulletin) flush() {
	b.mu.Lock()
	writer := b.writer
	b.mu.Unlock()
	if writer == nil {
		return
	}
	select {
	case <-writer:
	case <-time.After(bulletinLimit):
	}
}

// emit puts an event of the container on record, with more attributes as pairs of name and value. Containers that only who
// made them can find have none.
func (c *container) emit(action string, attributes ...string) {
	if !c.spec.Keep && !c.spec.Listed {
		return
	}
	all := map[string]string{}
	maps.Copy(all, c.labels())
	all["image"], all["name"] = c.spec.Image, c.displayName()
	for i := 0; i+1 < len(attributes); i += 2 {
		all[attributes[i]] = attributes[i+1]
	}
	c.k.bulletin.emit(sandbox.Event{Type: sandbox.EventContainer, Action: action, ID: c.id, Attributes: all})
}

// began is called when a program runs.
func (c *container) began(p *program) {
	c.emit("start")
	c.monitorHealth(p)
}

// finished is called when a program has ended, before that is told.
func (c *container) finished(p *program) {
	if p.exit.OOMKilled {
		c.emit("oom")
	}
	seconds := int(p.finished.Sub(p.began).Seconds())
	c.emit("die", "exitCode", strconv.Itoa(p.exit.Code), "execDuration", strconv.Itoa(seconds))
}

// emitDestroy tells once that the container is gone for good. One of which nothing was told before is not worth a word.
func (c *container) emitDestroy() {
	if c.opened || !c.created.IsZero() {
		c.destroyed.Do(func() { c.emit("destroy") })
	}
}

// bidFarewell puts on record what becomes of containers that the kernel ends together with this process.
func (s *server) bidFarewell() {
	k, err := s.keeper()
	if err != nil {
		return
	}
	s.mu.Lock()
	for _, c := range s.containers {
		if c.record == nil {
			c.farewell()
		}
	}
	s.mu.Unlock()
	k.bulletin.flush()
}

func (c *container) farewell() {
	c.mu.Lock()
	p := c.last
	c.mu.Unlock()
	if p != nil && !p.hasEnded() {
		c.emit("die", "exitCode", strconv.Itoa(128+int(unix.SIGKILL)))
	}
	c.emitDestroy()
}

// labels are the image's and the container's own.
func (c *container) labels() map[string]string {
	if c.image == nil {
		return c.spec.Labels
	}
	return merged(c.image.Config.Config.Labels, c.spec.Labels)
}
