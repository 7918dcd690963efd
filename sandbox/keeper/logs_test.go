package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bivouac-run/bivouac/sandbox"
)

// testLog makes a log whose files are small.
func testLog(t *testing.T, limit int64) *outputLog {
	t.Helper()
	l, err := newOutputLog(t.TempDir(), sandbox.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.limit = limit
	t.Cleanup(l.close)
	return l
}

// write writes to a stream of the log as a program does, piece by piece.
func writeLog(l *outputLog, stream string, pieces ...string) {
	w := &logWriter{log: l, stream: stream}
	for _, p := range pieces {
		w.add([]byte(p), time.Now())
	}
}

func readLog(t *testing.T, l *outputLog, spec sandbox.LogsSpec) []sandbox.LogEntry {
	t.Helper()
	var out bytes.Buffer
	if err := l.copyTo(t.Context(), &out, spec); err != nil {
		t.Fatal(err)
	}
	return decodeLog(t, &out)
}

func decodeLog(t *testing.T, r io.Reader) (entries []sandbox.LogEntry) {
	t.Helper()
	d := json.NewDecoder(r)
	for {
		var e sandbox.LogEntry
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

// textOf puts entries together as a terminal would show them.
func logText(entries []sandbox.LogEntry) string {
	var text strings.Builder
	for _, e := range entries {
		text.Write(e.Text)
	}
	return text.String()
}

func TestLogKeepsBytesAsTheyAre(t *testing.T) {
	l := testLog(t, logPartSize)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := string(all) + strings.Repeat("x", 3*logPiece) + "\n\n\r\nlast"
	r, w, err := outputPipe()
	if err != nil {
		t.Fatal(err)
	}
	newHub(l).take(r, sandbox.StreamError)
	if _, err := io.WriteString(w, want); err != nil {
		t.Fatal(err)
	}
	w.Close()
	l.await(t.Context(), time.Minute, false)
	entries := readLog(t, l, sandbox.LogsSpec{})
	if got := logText(entries); got != want {
		t.Errorf("%d bytes instead of %d", len(got), len(want))
	}
	lines := 0
	for _, e := range entries {
		if e.Stream != sandbox.StreamError || time.Since(e.Time) > time.Minute {
			t.Errorf("%+v", e)
		}
		if !e.Continues {
			lines++
		}
	}
	if lines != 5 { // the first one ends within the 256 bytes
		t.Errorf("%d lines", lines)
	}
}

func TestLogTail(t *testing.T) {
	l := testLog(t, 400) // some lines are in another file than others
	for i := range 4 {
		writeLog(l, sandbox.StreamOutput, fmt.Sprintf("o%d ", i), "and\n")
		writeLog(l, sandbox.StreamError, fmt.Sprintf("e%d\n", i))
	}
	// A line that began before what is wanted goes on within it.
	late := &logWriter{log: l, stream: sandbox.StreamOutput}
	late.add([]byte("long"), time.Now())
	writeLog(l, sandbox.StreamError, "e4\n")
	late.add([]byte("er\n"), time.Now())
	for n, want := range map[int]string{
		0: "", 1: "e4\n", 2: "longe4\ner\n", 3: "e3\nlonge4\ner\n", 4: "o3 and\ne3\nlonge4\ner\n",
	} {
		if got := logText(readLog(t, l, sandbox.LogsSpec{Tail: &n})); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	many := 1 << 40
	if got, all := readLog(t, l, sandbox.LogsSpec{Tail: &many}), readLog(t, l, sandbox.LogsSpec{}); len(got) == 0 || logText(got) != logText(all) {
		t.Errorf("%q, want %q", logText(got), logText(all))
	}
}

func TestLogSince(t *testing.T) {
	l := testLog(t, logPartSize)
	w := &logWriter{log: l, stream: sandbox.StreamOutput}
	begin := time.Now()
	for i := range 5 {
		w.add(fmt.Appendln(nil, i), begin.Add(time.Duration(i)*time.Second))
	}
	one := 1
	for want, spec := range map[string]sandbox.LogsSpec{
		"0\n1\n2\n3\n4\n": {Since: begin},
		"3\n4\n":          {Since: begin.Add(2500 * time.Millisecond)},
		"4\n":             {Since: begin.Add(2500 * time.Millisecond), Tail: &one},
		"":                {Since: begin.Add(time.Minute)},
	} {
		if got := logText(readLog(t, l, spec)); got != want {
			t.Errorf("%+v: %q", spec, got)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	l := testLog(t, 10_000)
	for i := range 1000 {
		writeLog(l, sandbox.StreamOutput, fmt.Sprintf("line %d\n", i))
		if n := len(l.parts); n > 2 || l.parts[0].size > 10_000 {
			t.Fatalf("%d files, the first of %d bytes", n, l.parts[0].size)
		}
	}
	entries := readLog(t, l, sandbox.LogsSpec{})
	if len(entries) < 100 || string(entries[len(entries)-1].Text) != "line 999\n" {
		t.Errorf("%d lines", len(entries))
	}
	for i, e := range entries { // no gap
		if want := fmt.Sprintf("line %d\n", 1000-len(entries)+i); string(e.Text) != want {
			t.Fatalf("%q, want %q", e.Text, want)
		}
	}
}

// TestLogHasNoName shows that nothing of a log is to be found in its directory.
func TestLogHasNoName(t *testing.T) {
	dir := t.TempDir()
	l, err := newOutputLog(dir, sandbox.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := newOutputLog(dir+"/none", sandbox.LogOptions{}); err == nil {
		t.Error("a log in no directory")
	}
}

func TestLogTellsWhatItLost(t *testing.T) {
	l := testLog(t, 200)
	l.make = func() (*os.File, error) { return nil, syscall.ENOSPC }
	writeLog(l, sandbox.StreamOutput, "kept\n")
	for range 3 {
		writeLog(l, sandbox.StreamOutput, strings.Repeat("x", 149)+"\n")
	}
	l.make = func() (*os.File, error) { return anonymousFile(t.TempDir()) }
	writeLog(l, sandbox.StreamError, "again\n", "and again\n")
	entries := readLog(t, l, sandbox.LogsSpec{})
	if logText(entries) != "kept\nagain\nand again\n" {
		t.Fatalf("%q", logText(entries))
	}
	if got := []int64{entries[0].Lost, entries[1].Lost, entries[2].Lost}; got[0] != 0 || got[1] != 450 || got[2] != 0 {
		t.Errorf("lost %v", got)
	}
}

func TestLogIsFollowed(t *testing.T) {
	defer goleak.VerifyNone(t)
	l := testLog(t, 500)
	r, w, err := outputPipe()
	if err != nil {
		t.Fatal(err)
	}
	newHub(l).take(r, sandbox.StreamOutput)
	follow, feed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := l.copyTo(context.Background(), feed, sandbox.LogsSpec{Follow: true})
		feed.Close()
		ended <- err
	}()
	entries := json.NewDecoder(follow)
	for i := range 20 { // over several files
		want := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(w, want); err != nil {
			t.Fatal(err)
		}
		var e sandbox.LogEntry
		if err := entries.Decode(&e); err != nil || string(e.Text) != want {
			t.Fatalf("%q, %v", e.Text, err)
		}
	}
	w.Close()
	var e sandbox.LogEntry
	if err := entries.Decode(&e); !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", e.Text, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAReaderThatDoesNotReadStopsNobody has one stop in the middle while the log's files are replaced many times.
func TestAReaderThatDoesNotReadStopsNobody(t *testing.T) {
	l := testLog(t, 2000)
	l.open()
	writeLog(l, sandbox.StreamOutput, "first\n")
	follow, feed := io.Pipe()
	go func() { feed.CloseWithError(l.copyTo(t.Context(), feed, sandbox.LogsSpec{Follow: true})) }()
	entries := json.NewDecoder(follow)
	var e sandbox.LogEntry
	if err := entries.Decode(&e); err != nil || string(e.Text) != "first\n" {
		t.Fatal(e, err)
	}
	for i := range 500 {
		writeLog(l, sandbox.StreamOutput, fmt.Sprintf("line %d\n", i))
	}
	l.done()
	last := ""
	for {
		if err := entries.Decode(&e); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		last = string(e.Text)
	}
	if last != "line 499\n" {
		t.Errorf("ended with %q", last)
	}
}

func TestFollowingEnds(t *testing.T) {
	l := testLog(t, 2000)
	l.open()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- l.copyTo(ctx, io.Discard, sandbox.LogsSpec{Follow: true}) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("with its context: %v", err)
	}
	go func() { ended <- l.copyTo(t.Context(), io.Discard, sandbox.LogsSpec{Follow: true}) }()
	l.close()
	l.close()
	if err := <-ended; err != nil && sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
		t.Errorf("with the log: %v", err)
	}
	writeLog(l, sandbox.StreamOutput, "too late\n")
}

func TestLogsOfNoLog(t *testing.T) {
	c := &container{k: &keeper{home: t.TempDir()}, id: newID(), spec: &sandbox.Spec{}}
	minus := -1
	for spec, want := range map[*sandbox.LogsSpec]string{{}: "has none", {Tail: &minus}: "not negative"} {
		if _, err := c.logToRead(t.Context(), *spec); sandbox.CodeOf(err) != sandbox.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

func TestStreamsOfALog(t *testing.T) {
	c := &container{k: &keeper{home: t.TempDir()}, id: newID(), spec: &sandbox.Spec{}, last: endedProgram()}
	plain, err := c.streamsOf([]*os.File{os.Stdin, os.Stdout, os.Stderr}, false)
	if err != nil || plain.begun(nil) != nil || plain.files[1] != os.Stdout || c.log != nil {
		t.Fatalf("%+v, %v", plain, err)
	}
	s, err := c.streamsOf(nil, true)
	if err != nil || len(s.files) != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	fmt.Fprint(s.files[1], "out\n")
	s.begun(nil)
	if _, err := s.files[2].WriteString("x"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the program's end is still open: %v", err)
	}
	c.log.await(t.Context(), time.Minute, false)
	again, err := c.streamsOf(nil, true) // a second start
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(again.files[2], "err\n")
	again.begun(nil)
	l, err := c.logToRead(t.Context(), sandbox.LogsSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if got := logText(readLog(t, l, sandbox.LogsSpec{})); got != "out\nerr\n" {
		t.Errorf("%q", got)
	}
	c.closeLog()
	unused, err := c.streamsOf(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	unused.close()
}

func BenchmarkLog(b *testing.B) {
	l, err := newOutputLog(b.TempDir(), sandbox.LogOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.close()
	w := &logWriter{log: l, stream: sandbox.StreamOutput}
	text := bytes.Repeat([]byte(strings.Repeat("x", 79)+"\n"), logPiece/80)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w.add(text, time.Now())
	}
}
