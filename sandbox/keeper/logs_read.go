package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// logReader goes through a log. It does not hold up who writes: what was given up before it came there is skipped.
type logReader struct {
	log    *outputLog
	number int   // of the file it is in
	offset int64 // of the next entry in it
}

// logEnd is where a reader stops that does not follow; the zero value is nowhere.
type logEnd struct {
	set    bool
	number int
	size   int64
}

// end is where the log ends by now.
func (l *outputLog) end() logEnd {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.parts[len(l.parts)-1]
	return logEnd{true, last.number, last.size}
}

// logSection is what can be read at once; changed tells when there will be more, nil if never.
type logSection struct {
	content *io.SectionReader
	changed <-chan struct{}
}

// next returns what can be read from where the reader is, which is nothing where it has to wait.
func (r *logReader) next(end logEnd) logSection {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	r.skip(l.parts)
	for _, p := range l.parts {
		if p.number < r.number || end.set && p.number > end.number {
			continue
		}
		size := p.size
		if end.set && p.number == end.number {
			size = min(size, end.size)
		}
		if p.number > r.number {
			r.number, r.offset = p.number, 0
		}
		if size > r.offset {
			return logSection{content: io.NewSectionReader(p.file, r.offset, size-r.offset)}
		}
	}
	if end.set || l.writers == 0 || l.isClosed {
		return logSection{}
	}
	return logSection{changed: l.changed}
}

// skip goes to the oldest file there is, if that where the reader was is gone.
func (r *logReader) skip(parts []*logPart) {
	if first := parts[0].number; r.number < first {
		r.number, r.offset = first, 0
	}
}

// each calls f with every entry up to the end, or where that is not set until nobody writes any more. f gets the
// entry's line and where it is.
func (r *logReader) each(ctx context.Context, end logEnd, f func(line []byte, number int, offset int64) error) error {
	for {
		s := r.next(end)
		switch {
		case s.content != nil:
			err := r.eachOf(s.content, f)
			if errors.Is(err, fs.ErrClosed) { // given up meanwhile
				err = r.leave()
			}
			if err != nil {
				return err
			}
		case s.changed == nil:
			return nil
		default:
			select {
			case <-s.changed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// leave goes on behind a file that was given up; with the log that is the end.
func (r *logReader) leave() error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.log.isClosed {
		return sandbox.Errorf(sandbox.CodeAlreadyFinished, "read a log: its container has been discarded")
	}
	r.skip(r.log.parts)
	return nil
}

func (r *logReader) eachOf(content io.Reader, f func(line []byte, number int, offset int64) error) error {
	lines := bufio.NewReaderSize(content, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(line, r.number, r.offset); err != nil {
			return err
		}
		r.offset += int64(len(line))
	}
}

// logHead is the part of an entry that decides whether it is wanted.
type logHead struct {
	Time      time.Time `json:"time"`
	Stream    string    `json:"stream"`
	Continues bool      `json:"continues"`
}

// copyTo writes what is wanted of the log.
func (l *outputLog) copyTo(ctx context.Context, w io.Writer, spec sandbox.LogsSpec) error {
	defer l.reading()()
	r := &logReader{log: l}
	end := l.end()
	if spec.Tail != nil {
		if err := r.seekTail(ctx, end, spec); err != nil {
			return err
		}
	}
	limited := ctx
	if spec.Follow {
		end = logEnd{}
		if !spec.Until.IsZero() {
			var cancel context.CancelFunc
			limited, cancel = context.WithDeadline(ctx, spec.Until)
			defer cancel()
		}
	}
	err := r.each(limited, end, copyWanted(w, spec))
	if limited.Err() != nil && ctx.Err() == nil {
		return nil // nothing is wanted of what may come
	}
	return err
}

// copyWanted returns what writes an entry if it is wanted. What is none, as after a crash of the machine, is left out.
func copyWanted(w io.Writer, spec sandbox.LogsSpec) func(line []byte, _ int, _ int64) error {
	begun := map[string]bool{}
	return func(line []byte, _ int, _ int64) error {
		if !json.Valid(line) {
			return nil
		}
		if spec.Tail != nil || !spec.Since.IsZero() || !spec.Until.IsZero() {
			h, ok := headOf(line)
			begun[h.Stream] = begun[h.Stream] || !h.Continues
			if !ok || !spec.Wants(h.Time) || spec.Tail != nil && !begun[h.Stream] {
				return nil
			}
		}
		_, err := w.Write(line)
		return err
	}
}

// headOf returns false for what is no entry, as after a crash of the machine.
func headOf(line []byte) (h logHead, ok bool) {
	return h, json.Unmarshal(line, &h) == nil
}

// seekTail goes to where the last lines begin that are wanted.
func (r *logReader) seekTail(ctx context.Context, end logEnd, spec sandbox.LogsSpec) error {
	var starts []logReader // a ring once there are as many as are wanted
	count := 0
	scan := &logReader{log: r.log}
	err := scan.each(ctx, end, func(line []byte, number int, offset int64) error {
		h, ok := headOf(line)
		if !ok || h.Continues || !spec.Wants(h.Time) || *spec.Tail == 0 {
			return nil
		}
		start := logReader{r.log, number, offset}
		if len(starts) < *spec.Tail {
			starts = append(starts, start)
		} else {
			starts[count%*spec.Tail] = start
		}
		count++
		return nil
	})
	switch {
	case err != nil:
		return err
	case *spec.Tail == 0 || count == 0:
		r.number, r.offset = scan.number, scan.offset
	case count <= *spec.Tail:
		*r = starts[0]
	default:
		*r = starts[count%*spec.Tail]
	}
	return nil
}

// reading counts a reader until the returned function is called.
func (l *outputLog) reading() (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.readers--
		l.signal()
	}
}

// await returns once there are no writers, or readers where these are meant too, or after a time.
func (l *outputLog) await(ctx context.Context, limit time.Duration, readers bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		l.mu.Lock()
		changed, idle := l.changed, l.writers == 0 && !(readers && l.readers > 0)
		l.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
