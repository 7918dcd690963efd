package testkit

import (
	"context"
	"io"
	"sync"
	"time"
)

// sink takes a container's output to its end.
type sink func(ctx context.Context, o *output)

// Log copies the program's output, both streams, to w while it comes. What w does not take in time is limited as the
// output itself is: the oldest part is left out.
func Log(w io.Writer) Option {
	return func(s *settings) {
		s.sinks = append(s.sinks, func(ctx context.Context, o *output) {
			each(ctx, o, func(_ Stream, p []byte) bool {
				_, err := w.Write(p)
				return err == nil
			})
		})
	}
}

// LogLines calls f for each line of the program's output, one at a time.
func LogLines(f func(stream Stream, line string)) Option {
	return func(s *settings) { s.sinks = append(s.sinks, lineSink(f)) }
}

// LogTo copies the program's output line by line to a test's log, until that test has ended.
func LogTo(tb TB) Option {
	l := &testLog{tb: tb}
	return func(s *settings) {
		s.attach = append(s.attach, func() { tb.Cleanup(l.end) })
		s.sinks = append(s.sinks, lineSink(l.line))
	}
}

// each calls f with every piece of the output until its end, ctx's, or f's refusal.
func each(ctx context.Context, o *output, f func(Stream, []byte) bool) {
	at := cursor{beyond: true}
	buf := make([]byte, 32<<10)
	for {
		n, s, err := o.await(ctx, &at, buf)
		if err != nil || !f(s, buf[:n]) {
			return
		}
	}
}

func lineSink(f func(Stream, string)) sink {
	return func(ctx context.Context, o *output) {
		lines := splitter{line: f}
		each(ctx, o, func(s Stream, p []byte) bool {
			lines.add(s, p)
			return true
		})
		lines.flush()
	}
}

// testLog writes to a test's log as long as the test allows it: afterwards that would panic.
type testLog struct {
	tb   TB
	mu   sync.Mutex
	over bool
}

func (l *testLog) line(s Stream, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.tb.Logf("%s: %s", s, line)
	}
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// sinkGrace is how long those who get the output may still take for it once the container is discarded.
const sinkGrace = 2 * time.Second

// startSinks gives the output to those who asked for it.
func (c *Container) startSinks() {
	c.sinksAlive, c.endSinks = context.WithCancel(context.Background())
	c.pourInto(c.settings.sinks)
}

// pourInto gives all of the output to more.
func (c *Container) pourInto(more []sink) {
	for _, s := range more {
		c.sinks.Go(func() { s(c.sinksAlive, c.output) })
	}
}

// drainSinks waits until all of the output was handed over, or for as long as that may take.
func (c *Container) drainSinks() {
	c.output.seal()
	late := time.AfterFunc(sinkGrace, c.endSinks)
	defer late.Stop()
	done := make(chan struct{})
	go func() {
		c.sinks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * sinkGrace): // a writer that never returns
	}
	c.endSinks()
}
