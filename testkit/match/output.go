package match

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/onsi/gomega/gbytes"

	"github.com/bivouac-run/bivouac/testkit"
)

// Output returns a buffer of all that the container's program prints on both streams, for gbytes.Say. It is the same buffer
// each time, so that Say goes on behind what it has found last. It is closed when the program ends; after a restart there
// is another, for what the program prints from then on, or, if that was more than a MiB, for what is kept of before as well.
// Of a module's server give its Container.
func Output(c *testkit.Container) *gbytes.Buffer { return buffers.get(c, 0, c.Follow) }

// Stdout is [Output] for the program's standard output alone.
func Stdout(c *testkit.Container) *gbytes.Buffer { return buffers.get(c, testkit.Stdout, c.Stdout) }

// Stderr is [Output] for the program's standard error alone.
func Stderr(c *testkit.Container) *gbytes.Buffer { return buffers.get(c, testkit.Stderr, c.Stderr) }

// bufferKey names a buffer without keeping its container in memory.
type bufferKey struct {
	container weak.Pointer[testkit.Container]
	stream    testkit.Stream
}

type buffer struct {
	*gbytes.Buffer
	program context.Context // of the start of the program that it is of
	source  *from
}

// bufferTable has the buffers of the containers that are in use.
type bufferTable struct {
	mu  sync.Mutex
	all map[bufferKey]buffer
}

var buffers = bufferTable{all: map[bufferKey]buffer{}}

func (t *bufferTable) get(c *testkit.Container, stream testkit.Stream, follow func() io.ReadCloser) *gbytes.Buffer {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := bufferKey{weak.Make(c), stream}
	program := c.Context()
	last, known := t.all[key]
	if known && (last.program == program || !last.source.ended.Load()) {
		return last.Buffer
	}
	source := &from{Reader: follow()}
	if known {
		source.skip = last.source.next()
	} else {
		runtime.AddCleanup(c, t.drop, key)
	}
	made := buffer{gbytes.BufferReader(source), program, source}
	t.all[key] = made
	return made.Buffer
}

func (t *bufferTable) drop(key bufferKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, key)
}

// from is a reader without its first bytes.
type from struct {
	io.Reader
	skip  int64        // bytes to leave out yet
	begin int64        // bytes that were left out
	read  atomic.Int64 // bytes that were passed on
	ended atomic.Bool
}

// Read implements io.Reader.
func (f *from) Read(p []byte) (int, error) {
	if f.skip > 0 {
		f.begin = f.skip
		f.skip = 0
		if _, err := io.CopyN(io.Discard, f.Reader, f.begin); err != nil {
			f.ended.Store(true)
			return 0, err
		}
	}
	n, err := f.Reader.Read(p)
	f.read.Add(int64(n))
	f.ended.Store(err != nil)
	return n, err
}

// maxSkip is below what a container keeps of its output, so that what is to be left out is there.
const maxSkip = 1 << 20

// next is where the output of a program begins that is started after this one has ended.
func (f *from) next() int64 {
	if end := f.begin + f.read.Load(); end <= maxSkip {
		return end
	}
	return 0
}
