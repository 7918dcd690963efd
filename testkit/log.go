package testkit

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Stream is one of a program's two outputs.
type Stream int

// The streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// String returns stdout or stderr.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

const (
	logSize   = 8 << 20 // how much of a container's output is kept
	chunkSize = 8 << 10
	// chunkCost is what a chunk takes besides its bytes, so that many small ones are bounded too.
	chunkCost = 64
)

// output is the output of a container: the last logSize bytes, for any number of readers. Writing never waits for them.
type output struct {
	mu      sync.Mutex
	chunks  []chunk
	first   int // number of chunks[0] among all that ever were
	size    int
	limit   int
	dropped int64 // bytes that are no longer there
	run     int   // number of the first chunk of the program that was started last
	writers int
	sealed  bool          // there will be no other program
	changed chan struct{} // closed at the next change
}

type chunk struct {
	stream Stream
	data   []byte
}

func newOutput(limit int) *output { return &output{limit: limit, changed: make(chan struct{})} }

// opening counts a writer in: readers reach the end when none is left.
func (o *output) opening() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writers++
}

func (o *output) closing() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writers--
	o.wake()
}

// seal lets even those reach the end who wait for another program.
func (o *output) seal() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sealed = true
	o.wake()
}

// newRun marks where the output of another start of the program begins.
func (o *output) newRun() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.run = o.first + len(o.chunks)
}

// wake tells all who wait. The caller has the lock.
func (o *output) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) write(s Stream, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(p) > 0 {
		last := o.writable(s)
		n := min(len(p), chunkSize-len(last.data))
		last.data = append(last.data, p[:n]...)
		o.size += n
		p = p[n:]
	}
	o.drop()
	o.wake()
}

// writable returns the last chunk, or a new one where that is full, of the other stream or of an earlier run.
func (o *output) writable(s Stream) *chunk {
	if n := len(o.chunks); n > 0 && o.first+n > o.run {
		if last := &o.chunks[n-1]; last.stream == s && len(last.data) < chunkSize {
			return last
		}
	}
	o.chunks = append(o.chunks, chunk{stream: s})
	o.size += chunkCost
	return &o.chunks[len(o.chunks)-1]
}

// drop forgets the oldest chunks until the rest is within the limit.
func (o *output) drop() {
	n := 0
	for ; o.size > o.limit && n < len(o.chunks)-1; n++ {
		o.size -= len(o.chunks[n].data) + chunkCost
		o.dropped += int64(len(o.chunks[n].data))
	}
	clear(o.chunks[:n])
	o.chunks = o.chunks[n:]
	o.first += n
}

// bytes returns what is there of a stream, or of both for 0.
func (o *output) bytes(s Stream) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []byte
	for _, c := range o.chunks {
		if s == 0 || s == c.stream {
			all = append(all, c.data...)
		}
	}
	return all
}

func (o *output) droppedBytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// pump copies a program's stream into the output until its end.
func (o *output) pump(s Stream, r io.Reader) {
	defer o.closing()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		o.write(s, buf[:n])
		if err != nil {
			return
		}
	}
}

// A cursor is a place in an output.
type cursor struct {
	stream Stream // 0 for both
	chunk  int    // its number
	offset int    // in that chunk
	// beyond goes on to the output of a program that is started again.
	beyond bool
}

// runStart is where the output of the program that was started last begins.
func (o *output) runStart() cursor {
	o.mu.Lock()
	defer o.mu.Unlock()
	return cursor{chunk: o.run}
}

// next returns the piece that follows at, and its stream, and moves at behind it. With nothing there it returns io.EOF if
// nobody writes any more, and otherwise a channel that is closed when it is worth another try.
func (o *output) next(at *cursor, buf []byte) (n int, s Stream, again <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at.chunk < o.first {
		at.chunk, at.offset = o.first, 0
		return copy(buf, droppedNote(o.dropped)), at.stream, nil, nil
	}
	for ; at.chunk < o.first+len(o.chunks); at.chunk, at.offset = at.chunk+1, 0 {
		c := o.chunks[at.chunk-o.first]
		if at.stream != 0 && at.stream != c.stream || at.offset == len(c.data) {
			if at.chunk == o.first+len(o.chunks)-1 {
				break // it may still grow
			}
			continue
		}
		n = copy(buf, c.data[at.offset:])
		at.offset += n
		return n, c.stream, nil, nil
	}
	if o.writers == 0 && (o.sealed || !at.beyond) {
		return 0, 0, nil, io.EOF
	}
	return 0, 0, o.changed, nil
}

func droppedNote(n int64) string {
	return fmt.Sprintf("[testkit: the oldest %d bytes of the output are gone]\n", n)
}

// await is next, but waits for something to be there.
func (o *output) await(ctx context.Context, at *cursor, buf []byte) (int, Stream, error) {
	for {
		n, s, again, err := o.next(at, buf)
		if again == nil {
			return n, s, err
		}
		select {
		case <-again:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
}
