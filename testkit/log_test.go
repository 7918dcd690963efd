package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestAFollowerReadsToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutput(1 << 20)
		o.opening()
		var both, one string
		var readers sync.WaitGroup
		readers.Go(func() { both = readAll(t, o.follow(0)) })
		readers.Go(func() { one = readAll(t, o.follow(Stderr)) })
		for i := range 3 {
			synctest.Wait()
			o.write(Stdout, fmt.Appendf(nil, "out %d\n", i))
			o.write(Stderr, fmt.Appendf(nil, "err %d\n", i))
		}
		o.closing()
		readers.Wait()
		if both != "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n" || one != "err 0\nerr 1\nerr 2\n" {
			t.Errorf("got %q and %q", both, one)
		}
	})
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(all)
}

func TestTheOldestOutputIsDropped(t *testing.T) {
	o := newOutput(10 * chunkSize)
	o.opening()
	slow := o.follow(0)
	for i := range 10000 {
		o.write(Stdout, fmt.Appendf(nil, "line %06d\n", i))
		o.write(Stderr, []byte("x\n"))
	}
	o.closing()
	if o.size > o.limit {
		t.Errorf("%d bytes are kept", o.size)
	}
	text := readAll(t, slow)
	first, rest, _ := strings.Cut(text, "\n")
	if first != fmt.Sprintf("[testkit: the oldest %d bytes of the output are gone]", o.droppedBytes()) {
		t.Errorf("got %q", first)
	}
	if int64(len(rest))+o.droppedBytes() != 10000*14 || !strings.HasSuffix(rest, "line 009999\nx\n") {
		t.Errorf("got %d bytes and %d dropped, %q", len(rest), o.droppedBytes(), rest[len(rest)-30:])
	}
}

func TestALargeWriteIsKeptToItsEnd(t *testing.T) {
	o := newOutput(4 * chunkSize)
	o.write(Stdout, []byte(strings.Repeat("a", 20*chunkSize)+"end"))
	if got := string(o.bytes(Stdout)); !strings.HasSuffix(got, "aend") || len(got) > o.limit {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestClosingAFollowerWakesItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutput(1 << 20)
		o.opening()
		f := o.follow(0)
		done := make(chan error)
		go func() {
			_, err := f.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		if f.Close() != nil {
			t.Error("close failed")
		}
		if err := <-done; !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhoGoesBeyondTheEndSeesTheNextProgram(t *testing.T) {
	o := newOutput(1 << 20)
	var lines []string
	sink := lineSink(func(_ Stream, line string) { lines = append(lines, line) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		sink(context.Background(), o)
	}()
	for run := range 2 {
		o.opening()
		o.newRun()
		o.write(Stdout, fmt.Appendf(nil, "run %d\n", run))
		o.closing()
	}
	o.seal()
	<-done
	if strings.Join(lines, ",") != "run 0,run 1" {
		t.Errorf("got %q", lines)
	}
	if at := o.runStart(); at.chunk != 1 {
		t.Errorf("the second program's output begins in chunk %d", at.chunk)
	}
}

func TestLinesAreCutAndJoined(t *testing.T) {
	var lines []string
	s := splitter{line: func(stream Stream, line string) { lines = append(lines, stream.String()+":"+line) }}
	for _, piece := range []string{"a", "b\r\nc", "\n\nd"} {
		s.add(Stdout, []byte(piece))
		s.add(Stderr, []byte("!"))
	}
	s.flush()
	if got := strings.Join(lines, " "); got != "stdout:ab stdout:c stdout: stdout:d stderr:!!!" {
		t.Errorf("got %q", got)
	}
	lines = nil
	s.add(Stdout, []byte(strings.Repeat("x", 3*maxLine)))
	if len(lines) != 3 {
		t.Errorf("a line without an end became %d", len(lines))
	}
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""}, {"a", 3, "a"}, {"a\nb\n", 1, "b"}, {"a\nb\nc\n", 2, "b\nc"}, {"a\nb\nc", 3, "a\nb\nc"}, {"\n\na\n\n", 2, "\na"},
	} {
		if got := lastLines([]byte(test.text), test.n); got != test.want {
			t.Errorf("%q, %d: got %q", test.text, test.n, got)
		}
	}
}

func TestATestsLogIsLeftAloneAfterItsEnd(t *testing.T) {
	tb := &fakeTB{name: "TestX"}
	b := &fakeBox{program: func(p *fakeProgram) {
		fmt.Fprintln(p.stdout, "early")
		p.run()
	}}
	c := made(t, b, LogTo(tb))
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(tb.log(), "stdout: early") })
	tb.cleanup()
	fmt.Fprintln(b.current().stdout, "late")
	eventually(t, func() bool { return strings.Contains(c.Logs(), "late") })
	if strings.Contains(tb.log(), "late") {
		t.Error("the log was used after the end")
	}
}
