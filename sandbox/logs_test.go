package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// logs writes as many entries as the request's tail says, and then what the container's image is called after.
func (f *fake) logs(m *wire.Message, signals chan int) {
	var r sandbox.LogsRequest
	if m.Decode(&r) != nil {
		return
	}
	f.mu.Lock()
	c := f.created[r.Container]
	f.mu.Unlock()
	if c == nil {
		f.gone(m)
		return
	}
	_ = f.conn.Send(m.ID, sandbox.KindCopying, nil)
	entries := json.NewEncoder(m.Files[0])
	for i := range *r.Spec.Tail {
		_ = entries.Encode(sandbox.LogEntry{Time: r.Spec.Since, Stream: sandbox.StreamError, Text: []byte{'\xff', byte(i)}, Continues: i > 0})
	}
	switch c.spec.Image {
	case "broken":
		m.CloseFiles()
		_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeAlreadyFinished, "discarded meanwhile"))
		return
	case "cut":
		fmt.Fprint(m.Files[0], `{"time":`)
	case "array":
		fmt.Fprint(m.Files[0], "[]\n")
	}
	if r.Spec.Follow {
		<-signals
	}
	m.CloseFiles()
	_ = f.conn.Send(m.ID, sandbox.KindDone, nil)
}

func logged(t *testing.T, image string) *sandbox.Container {
	t.Helper()
	ct, err := startWith(t, "proper").Create(t.Context(), sandbox.Spec{Image: image, Args: []string{"sleep"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ct
}

func TestLogsAreEntriesUntilTheirEnd(t *testing.T) {
	ct := logged(t, "image")
	since := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	n := 0
	for e, err := range ct.Logs(t.Context(), sandbox.LogsSpec{Tail: new(300), Since: since}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Text) != string([]byte{'\xff', byte(n)}) || e.Stream != sandbox.StreamError || !e.Time.Equal(since) || e.Continues != (n > 0) {
			t.Errorf("%d: %+v", n, e)
		}
		n++
	}
	if n != 300 {
		t.Errorf("%d entries", n)
	}
}

func TestLogsThatEndEarly(t *testing.T) {
	for image, code := range map[string]sandbox.Code{"broken": sandbox.CodeAlreadyFinished, "cut": "", "array": ""} {
		t.Run(image, func(t *testing.T) {
			n := 0
			var last error
			for _, err := range logged(t, image).Logs(t.Context(), sandbox.LogsSpec{Tail: new(3)}) {
				n++
				last = err
			}
			if n != 4 || last == nil || code != "" && sandbox.CodeOf(last) != code {
				t.Errorf("%d entries, %v", n, last)
			}
		})
	}
}

func TestLogsCanBeLeft(t *testing.T) {
	ct := logged(t, "image")
	for range ct.Logs(t.Context(), sandbox.LogsSpec{Tail: new(3), Follow: true}) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range ct.Logs(ctx, sandbox.LogsSpec{Tail: new(1), Follow: true}) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) && !errors.Is(last, os.ErrDeadlineExceeded) {
		t.Errorf("%v", last)
	}
}

func TestLogsOfADiscardedContainer(t *testing.T) {
	ct := logged(t, "image")
	if err := ct.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range ct.Logs(t.Context(), sandbox.LogsSpec{Tail: new(0)}) {
		if sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
			t.Errorf("%v", err)
		}
	}
}

func TestWhatHasNoLog(t *testing.T) {
	client := startWith(t, "proper")
	_, err := client.Run(t.Context(), sandbox.Spec{Image: "image", Args: []string{"exit", "0"}}, sandbox.Streams{Log: true}, nil)
	if sandbox.CodeOf(err) != sandbox.CodeInvalid {
		t.Errorf("run: %v", err)
	}
	ct, err := client.Create(t.Context(), sandbox.Spec{Image: "image", Args: []string{"sleep"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ct.Exec(t.Context(), sandbox.ExecSpec{Args: []string{"exit", "0"}}, sandbox.Streams{Log: true}); sandbox.CodeOf(err) != sandbox.CodeInvalid {
		t.Errorf("exec: %v", err)
	}
}
