package unpack

import (
	"errors"
	"io"
	"sync"
)

const (
	aheadSize  = 512 << 10 // bytes of a chunk
	aheadCount = 4         // chunks
)

// ReadAhead returns a reader of what r yields that reads r in a goroutine of
// its own, up to 2 MiB ahead: decompression and unpacking then use two
// processors. [Layer] needs no other buffer for it.
//
// Close ends the goroutine. It waits for a Read of r that is under way, so what
// r waits for, such as a connection, is to be ended first. r is not closed, and
// an error of r that was not read yet is dropped with the data before it.
func ReadAhead(r io.Reader) io.ReadCloser {
	a := &ahead{full: make(chan chunk, aheadCount), free: make(chan []byte, aheadCount), done: make(chan struct{})}
	for range aheadCount {
		a.free <- nil // made when needed: many layers are small
	}
	go a.run(r)
	return a
}

type chunk struct {
	data []byte // the part of buf that is not read
	buf  []byte
	err  error // comes after data
}

type ahead struct {
	full chan chunk
	free chan []byte
	done chan struct{} // closed by Close
	once sync.Once
	cur  chunk
}

func (a *ahead) run(r io.Reader) {
	defer close(a.full)
	for {
		select {
		case <-a.done:
			return
		case buf := <-a.free:
			c := readChunk(r, buf)
			a.full <- c // there is room for all chunks
			if c.err != nil {
				return
			}
		}
	}
}

func readChunk(r io.Reader, buf []byte) chunk {
	if buf == nil {
		buf = make([]byte, aheadSize)
	}
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return chunk{data: buf[:n], buf: buf, err: err}
		}
	}
	return chunk{data: buf[:n], buf: buf}
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.cur.data) == 0 && len(p) > 0 {
		if err := a.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.cur.data)
	a.cur.data = a.cur.data[n:]
	return n, nil
}

// next gets a chunk that is not empty.
func (a *ahead) next() error {
	for len(a.cur.data) == 0 {
		if a.cur.err != nil {
			return a.cur.err
		}
		if a.cur.buf != nil {
			a.free <- a.cur.buf
		}
		c, ok := <-a.full
		if !ok {
			c.err = errClosed
		}
		a.cur = c
	}
	return nil
}

var errClosed = errors.New("read ahead: closed")

// Close implements [io.Closer]; the error is always nil.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.done) })
	for range a.full { // until run has ended
	}
	a.cur = chunk{err: errClosed}
	return nil
}
