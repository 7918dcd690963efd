package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The types of events, which are what something has happened to.
const (
	EventContainer = "container"
	EventImage     = "image"
	EventVolume    = "volume"
	EventBuilder   = "builder"
)

// Event is something that has happened to a container, an image or a volume of this user.
type Event struct {
	// Time is when; zero means when it is emitted.
	Time time.Time `json:"time"`
	// Type is one of EventContainer and its like.
	Type string `json:"type"`
	// Action is what was done, in Docker's words, such as start, die, "health_status: healthy".
	Action string `json:"action"`
	// ID names the object: a container's id, an image's name or id, a volume's name.
	ID string `json:"id"`
	// Attributes are more about it, such as image, name, exitCode, and a container's labels.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// EventsSpec says which events to return. Its zero value is all that are on record.
type EventsSpec struct {
	// Since leaves out what was before, Until what is from then on; zero does not.
	Since, Until time.Time
	// Follow goes on with what happens from then on, until the time Until.
	Follow bool
}

const (
	// eventsLimit is the size at which the record is turned over: at least as much is there, at most twice as much.
	eventsLimit = 1 << 20
	// eventLimit bounds one event, whose attributes may come from a foreign image. Longer ones lose their longest attributes.
	eventLimit = 32 << 10
	// eventsPatience is how long another program may hold the record's lock, which it needs for microseconds.
	eventsPatience = time.Second
	// eventsPoll is how often somebody who follows looks for more.
	eventsPoll = 50 * time.Millisecond
)

// Emit adds an event to the record in the store, which all programs of this user share. What else was done does not fail
// because this does. A store that is gone is not made for it.
func Emit(e Event) error {
	path, err := inStore("events.jsonl")
	if err != nil {
		return fmt.Errorf("record an event: %w", err)
	}
	err = (&eventFile{path, eventsLimit}).emit(e)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record an event: %w", err)
	}
	return nil
}

// Events returns what has happened, the oldest first. The sequence ends with the record, or when it follows with Until or ctx,
// or with an error. Lines of the record that are none, as after a crash of the machine, are skipped.
func Events(ctx context.Context, spec EventsSpec) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		path, err := inStore("events.jsonl")
		if err == nil {
			err = (&eventFile{path, eventsLimit}).each(ctx, spec, func(e Event) bool { return yield(e, nil) })
		}
		if err != nil {
			yield(Event{}, fmt.Errorf("read the record of events: %w", err))
		}
	}
}

// eventFile is a record of events: a line of JSON for each, in a file that others may write to at the same time, and the older
// ones in another file of the same name and ".1". Who writes has the file's lock, and the file its name.
type eventFile struct {
	path  string
	limit int64 // of a file's size
}

func (f *eventFile) emit(e Event) (err error) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	line, err := e.line()
	if err != nil {
		return err
	}
	file, err := f.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }() // which unlocks it
	return f.append(file, line)
}

// line is the event in JSON, without its longest attributes where it would be too long.
func (e Event) line() ([]byte, error) {
	for {
		line, err := json.Marshal(e)
		if err != nil || len(line) < eventLimit || len(e.Attributes) == 0 {
			return append(line, '\n'), err
		}
		longest := ""
		rest := make(map[string]string, len(e.Attributes))
		for k, v := range e.Attributes {
			rest[k] = v
			if len(k)+len(v) >= len(longest)+len(e.Attributes[longest]) {
				longest = k
			}
		}
		delete(rest, longest)
		e.Attributes = rest
	}
}

// lock opens the file that has the name, and locks it.
func (f *eventFile) lock() (*os.File, error) {
	for late := time.Now().Add(eventsPatience); ; {
		file, err := f.open()
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && f.isAt(f.path, file) {
			return file, nil
		}
		_ = file.Close()
		switch {
		case err == nil: // it was turned over
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, fmt.Errorf("lock %s: %w", f.path, err)
		case time.Now().After(late):
			return nil, fmt.Errorf("lock %s: another program has it", f.path)
		default:
			time.Sleep(200 * time.Microsecond)
		}
	}
}

func (f *eventFile) open() (*os.File, error) {
	const flags = os.O_RDWR | os.O_APPEND | os.O_CREATE | unix.O_NOFOLLOW
	return os.OpenFile(f.path, flags, 0o600)
}

// isAt tells whether the open file has the name.
func (f *eventFile) isAt(path string, file *os.File) bool {
	named, err := os.Lstat(path)
	if err != nil {
		return false
	}
	opened, err := file.Stat()
	return err == nil && os.SameFile(named, opened)
}

// append writes a line by one call, after the end of what may have been left half-written, and turns a full file over.
func (f *eventFile) append(file *os.File, line []byte) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if size := st.Size(); size > 0 {
		var last [1]byte
		if _, err := file.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := file.Write(line); err != nil {
		return err
	}
	if st.Size()+int64(len(line)) < f.limit {
		return nil
	}
	return os.Rename(f.path, f.path+".1")
}

// each calls yield with the events until it returns false.
func (f *eventFile) each(ctx context.Context, spec EventsSpec, yield func(Event) bool) error {
	r := &eventReader{file: f, spec: spec, yield: yield}
	defer r.close()
	var late <-chan time.Time
	if spec.Follow && !spec.Until.IsZero() {
		timer := time.NewTimer(time.Until(spec.Until))
		defer timer.Stop()
		late = timer.C
	}
	poll := time.NewTicker(eventsPoll)
	defer poll.Stop()
	for {
		if err := r.catchUp(); err != nil || r.done || !spec.Follow {
			return err
		}
		select {
		case <-poll.C:
		case <-late:
			return r.catchUp()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// eventReader goes through a record, also while it is turned over.
type eventReader struct {
	file  *eventFile
	spec  EventsSpec
	yield func(Event) bool
	done  bool // yield wants no more

	open  *os.File // nil before there is a file
	lines *bufio.Reader
	part  []byte // of a line that is not complete yet
}

// catchUp reads to the record's end.
func (r *eventReader) catchUp() error {
	for !r.done {
		if r.open != nil {
			current := r.file.isAt(r.file.path, r.open) // before the last look: a file without the name is not written to
			if err := r.read(); err != nil || current {
				return err
			}
		}
		if more, err := r.next(); err != nil || !more {
			return err
		}
	}
	return nil
}

// next goes on with the file behind a complete one, or with the oldest one there is where that is gone. It opens the newer one
// first: if that is turned over meanwhile, both are the same.
func (r *eventReader) next() (more bool, err error) {
	newer, err := openRecord(r.file.path)
	if err != nil {
		return false, err
	}
	older, err := openRecord(r.file.path + ".1")
	if err != nil {
		return false, errors.Join(err, closeRecord(newer))
	}
	if older == nil || r.open != nil && sameFile(older, r.open) {
		older, newer = newer, older
	}
	if older == nil {
		return false, closeRecord(newer)
	}
	r.close()
	r.open, r.lines, r.part = older, bufio.NewReader(older), nil
	return true, closeRecord(newer)
}

// openRecord returns nil for a file that is not there.
func openRecord(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func closeRecord(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// read reads to the file's end.
func (r *eventReader) read() error {
	for !r.done {
		text, err := r.lines.ReadBytes('\n')
		r.part = append(r.part, text...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r.take(r.part)
		r.part = r.part[:0]
	}
	return nil
}

func (r *eventReader) take(line []byte) {
	var e Event
	if json.Unmarshal(bytes.TrimSpace(line), &e) != nil || e.Type == "" {
		return
	}
	if e.Time.Before(r.spec.Since) || !r.spec.Until.IsZero() && !e.Time.Before(r.spec.Until) {
		return
	}
	r.done = !r.yield(e)
}

func (r *eventReader) close() { _ = closeRecord(r.open) }
