package keeper

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// endedProgram is one that has run.
func endedProgram() *program {
	p := &program{ended: make(chan struct{})}
	close(p.ended)
	return p
}

// heldStreams are those of a program that a test plays, until it ends it.
func heldStreams(t *testing.T, spec *sandbox.Spec) (c *container, s *streams, end func()) {
	t.Helper()
	c = &container{k: &keeper{home: t.TempDir()}, id: newID(), spec: spec, last: &program{ended: make(chan struct{})}}
	s, err := c.streamsFor(startStreams{held: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range s.files { // what the program has of them
		if s.files[i], err = again(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	files := s.files
	s.begun(nil)
	t.Cleanup(c.closeLog)
	return c, s, func() {
		closeFiles(files)
		close(c.last.ended)
		<-c.hub.ended
	}
}

// reader attaches, and returns what came once that has ended.
func reader(t *testing.T, h *hub, replay bool) func() string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan string, 1)
	go func() {
		defer r.Close()
		all, _ := io.ReadAll(r)
		text <- string(all)
	}()
	if _, err := h.attach(t.Context(), []*os.File{w, w}, false, replay); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return func() string { return <-text }
}

func TestHubReplaysWithoutGapOrRepetition(t *testing.T) {
	c, s, end := heldStreams(t, &sandbox.Spec{})
	const lines = 20000
	begun := make(chan struct{})
	go func() {
		for i := range lines {
			if i == lines/4 {
				close(begun)
			}
			_, _ = s.files[1].WriteString(strings.Repeat("x", 30) + "\n")
		}
		end()
	}()
	<-begun
	late := reader(t, c.hub, true)
	if got := late(); len(got) != lines*31 {
		t.Errorf("%d bytes instead of %d", len(got), lines*31)
	}
}

// awaitEndOfTyping returns once the end of the attachment's input was seen.
func (a *attachment) awaitEndOfTyping() {
	for typing := true; typing; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		typing = a.typing
		a.mu.Unlock()
	}
}

func TestHubTakesInputFromManyAndEndsItOnce(t *testing.T) {
	for _, once := range []bool{false, true} {
		c, s, end := heldStreams(t, &sandbox.Spec{OpenStdin: true, StdinOnce: once})
		for _, text := range []string{"a", "b"} {
			r, w, _ := os.Pipe()
			a, err := c.hub.attach(t.Context(), []*os.File{r, devNull(t), devNull(t)}, true, false)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			_, _ = w.WriteString(text)
			w.Close()
			buf := make([]byte, 1)
			n, err := s.files[0].Read(buf)
			switch {
			case once && text == "b":
				if !errors.Is(err, io.EOF) {
					t.Errorf("%q: %v: the input has not ended", buf[:n], err)
				}
			case string(buf[:n]) != text:
				t.Errorf("%q instead of %q: %v", buf[:n], text, err)
			}
			if once {
				_ = s.files[0].SetReadDeadline(time.Now().Add(time.Minute))
			}
			a.awaitEndOfTyping() // who leaves before has not ended anything
			a.detach()
		}
		if !once {
			_ = s.files[0].SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			if _, err := s.files[0].Read(make([]byte, 1)); errors.Is(err, io.EOF) {
				t.Error("the input has ended")
			}
		}
		end()
	}
}

// Who does not read holds the program up, but not beyond his own end.
func TestHubGivesUpWhoLeaves(t *testing.T) {
	c, s, end := heldStreams(t, &sandbox.Spec{Log: sandbox.LogOptions{None: true}})
	if c.log != nil {
		t.Error("it has a log")
	}
	r, w, _ := os.Pipe()
	defer r.Close()
	ctx, leave := context.WithCancel(t.Context())
	a, err := c.hub.attach(ctx, []*os.File{w, w}, false, false)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	written := make(chan error, 1)
	go func() {
		_, err := s.files[1].Write(make([]byte, 1<<20))
		written <- err
	}()
	select {
	case <-written:
		t.Error("a megabyte went nowhere")
	case <-time.After(50 * time.Millisecond):
	}
	leave()
	if err := <-written; err != nil {
		t.Error(err)
	}
	a.detach()
	end()
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
