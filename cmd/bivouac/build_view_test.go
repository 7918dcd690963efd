package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildStart is when the builds of these tests begin.
var buildStart = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// event makes one at a time after the start.
func event(ms int, step int, kind, text string) sandbox.BuildEvent {
	e := sandbox.BuildEvent{Step: step, Kind: kind, Time: buildStart.Add(time.Duration(ms) * time.Millisecond)}
	switch kind {
	case "start":
		e.Name = text
	case "log":
		e.Text, e.Stream = []byte(text), "stdout"
	default:
		e.Text = []byte(text)
	}
	return e
}

// transferred makes an event of a transfer.
func transferred(ms, step int, current, total int64) sandbox.BuildEvent {
	e := event(ms, step, "progress", "")
	e.Layer, e.Current, e.Total = layerA, current, total
	return e
}

var buildEvents = []sandbox.BuildEvent{
	event(0, 1, "start", "[internal] load build definition from Dockerfile"),
	event(12, 1, "done", ""),
	event(13, 2, "start", "[base 1/3] FROM docker.io/library/debian:12"),
	transferred(20, 2, 1_000_000, 28_000_000),
	transferred(700, 2, 14_000_000, 28_000_000),
	transferred(1_500, 2, 28_000_000, 28_000_000),
	event(2_000, 2, "done", ""),
	event(2_001, 3, "start", "[base 2/3] COPY . /src"),
	event(2_002, 3, "cached", ""),
	event(2_003, 4, "start", "[base 3/3] RUN make \x1b[31mall\x1b[0m"),
	event(2_100, 4, "log", "first line\nsecond "),
	event(2_200, 5, "start", "[other 2/2] RUN ./configure"),
	event(2_250, 5, "log", "checking for cc\n"),
	event(2_300, 4, "log", "line\n\x1b[1mbold\x1b[0m\tend\n"),
	event(2_350, 5, "warning", "an odd thing"),
	event(3_000, 4, "done", ""),
	event(3_500, 5, "log", "no cc"),
	event(4_000, 5, "failed", "process \"make\" did not complete successfully: exit code: 2"),
}

func TestBuildLines(t *testing.T) {
	const want = `#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s

#2 [base 1/3] FROM docker.io/library/debian:12
#2 sha256:aaaaaaaaaaaa 1MB / 28MB 0.0s
#2 sha256:aaaaaaaaaaaa 28MB / 28MB done 1.5s
#2 DONE 2.0s

#3 [base 2/3] COPY . /src
#3 CACHED

#4 [base 3/3] RUN make [31mall[0m
#4 0.097 first line
#4 0.297 second line
#4 0.297 ` + "\x1b[1mbold\x1b[0m\tend" + `
#4 DONE 1.0s

#5 [other 2/2] RUN ./configure
#5 0.050 checking for cc
#5 WARN: an odd thing
#5 1.800 no cc
#5 ERROR: process "make" did not complete successfully: exit code: 2
------
 > [other 2/2] RUN ./configure:
0.050 checking for cc
1.800 no cc
------
`
	var out bytes.Buffer
	v := newBuildLines(&out)
	for _, e := range buildEvents {
		v.event(e)
	}
	v.finish(errors.New("it failed"))
	if got := out.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// A build ends with the id of its image and its names, for people; programs have other ways to know.
func TestBuildTellsItsImage(t *testing.T) {
	steps := []sandbox.BuildEvent{event(0, 1, "start", "[1/1] FROM x"), event(1, 1, "done", ""), event(2, 2, "start", "exporting to image"), event(3, 2, "done", "")}
	size := func() (int, int) { return 60, 24 }
	for name, test := range map[string]struct {
		view func(*bytes.Buffer) buildView
		want string
	}{
		"lines":   {func(w *bytes.Buffer) buildView { return newBuildLines(w) }, "#2 writing image sha256:abc done\n#2 naming to app:latest done\n"},
		"picture": {func(w *bytes.Buffer) buildView { return makeBuildPicture(w, size, time.Now) }, " => => writing image sha256:abc\n => => naming to app:latest\n"},
		"json":    {func(w *bytes.Buffer) buildView { return &buildJSON{json.NewEncoder(w)} }, ""},
		"quiet":   {func(w *bytes.Buffer) buildView { return &buildSilence{w, newBuildSteps()} }, ""},
	} {
		var out bytes.Buffer
		v := test.view(&out)
		for _, e := range steps {
			v.event(e)
		}
		v.finish(nil)
		before := out.Len()
		v.made("sha256:abc", []string{"app:latest"})
		if got := out.String()[before:]; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestBuildLinesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		v := newBuildLines(&out)
		say := func(step int, kind, text string) {
			e := event(0, step, kind, text)
			e.Time = time.Now()
			v.event(e)
		}
		say(1, "start", "one")
		say(2, "start", "two")
		say(2, "log", "two speaks\n")
		time.Sleep(2 * lineTurn)
		synctest.Wait()
		v.mu.Lock()
		got := out.String()
		v.mu.Unlock()
		if want := "#1 one\n#1 ...\n\n#2 two\n#2 0.000 two speaks\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		say(1, "done", "")
		say(2, "done", "")
		v.finish(nil)
		if got, want := out.String(), "#2 ...\n\n#1 one\n#1 DONE 10.0s\n\n#2 two\n#2 DONE 10.0s\n"; !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q at its end", got, want)
		}
	})
}

// picture returns what is drawn of the first events at a time.
func picture(n int, ms int, columns int, last bool) string {
	now := buildStart
	v := makeBuildPicture(&bytes.Buffer{}, nil, func() time.Time { return now })
	for _, e := range buildEvents[:n] {
		v.event(e)
	}
	now = now.Add(time.Duration(ms) * time.Millisecond)
	return strings.Join(v.lines(columns, last), "\n") + "\n"
}

func TestBuildPicture(t *testing.T) {
	for _, test := range []struct {
		name    string
		n, ms   int
		columns int
		last    bool
		want    string
	}{
		{"a transfer", 5, 800, 60, false, `
[+] Building 0.8s (1/2)
 => [internal] load build definition from Dockerfile    0.0s
 => [base 1/3] FROM docker.io/library/debian:12         0.8s
 => => sha256:aaaaaaaaaaaa 14MB / 28MB                  0.7s
`},
		{"two at once", 14, 2_500, 60, false, `
[+] Building 2.5s (3/5)
 => [internal] load build definition from Dockerfile    0.0s
 => [base 1/3] FROM docker.io/library/debian:12         2.0s
 => => sha256:aaaaaaaaaaaa 28MB / 28MB done             1.5s
 => CACHED [base 2/3] COPY . /src                       0.0s
 => [base 3/3] RUN make [31mall[0m                      0.5s
 => => # first line
 => => # second line
 => => # bold    end
 => [other 2/2] RUN ./configure                         0.3s
 => => # checking for cc
`},
		{"the end, in a narrow terminal", 18, 4_000, 30, true, `
[+] Building 4.0s (5/5) FINISH
 => [internal] load bui   0.0s
 => [base 1/3] FROM doc   2.0s
 => => sha256:aaaaaaaaa   1.5s
 => CACHED [base 2/3] C   0.0s
 => [base 3/3] RUN make   1.0s
 => ERROR [other 2/2] R   1.8s
 => => WARN: an odd thing
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := picture(test.n, test.ms, test.columns, test.last); got != strings.TrimPrefix(test.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}

func TestBuildPictureIsDrawnOverItself(t *testing.T) {
	var out bytes.Buffer
	v := makeBuildPicture(&out, func() (int, int) { return 40, 4 }, func() time.Time { return buildStart })
	for i := range 6 {
		v.event(event(i, i+1, "start", fmt.Sprintf("step %d", i)))
	}
	v.draw(false)
	first := out.String()
	if lines := strings.Count(first, "\n"); lines != 3 || !strings.Contains(first, "step 5") || strings.Contains(first, "step 3") {
		t.Errorf("a terminal of 4 lines got %q", first)
	}
	out.Reset()
	v.draw(true)
	if got := out.String(); !strings.HasPrefix(got, "\x1b[?25l\x1b[3A\r") || strings.Count(got, "\n") != 7 {
		t.Errorf("the last picture is %q", got)
	}
}

func TestBuildJSON(t *testing.T) {
	var out bytes.Buffer
	v := &buildJSON{json.NewEncoder(&out)}
	for _, e := range buildEvents {
		v.event(e)
	}
	v.finish(nil)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(buildEvents) {
		t.Fatalf("%d lines of %d events", len(lines), len(buildEvents))
	}
	if want := `{"step":1,"kind":"start","time":"2030-01-02T03:04:05Z","name":"[internal] load build definition from Dockerfile"}`; lines[0] != want {
		t.Errorf("got %s, want %s", lines[0], want)
	}
	if want := `"text":"first line\nsecond ","stream":"stdout"}`; !strings.HasSuffix(lines[10], want) {
		t.Errorf("got %s, want %s at its end", lines[10], want)
	}
}

func TestHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "a\tb": "a    b", "\x1b[31mred\x1b[0m": "red", "10%\r20%": "20%", "\x1b]0;title\x07x": "]0;titlex",
		"bad \xff byte": "bad ? byte", "\x1b[": "", "\x1b": "", "\u202eevil": "evil",
	} {
		if got := harmless([]byte(text)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func FuzzBuildEvents(f *testing.F) {
	f.Add(1, "log", "text\n")
	f.Add(0, "failed", "\x1b[2J")
	f.Add(-1, "progress", "")
	f.Fuzz(func(t *testing.T, step int, kind, text string) {
		var out bytes.Buffer
		pic := makeBuildPicture(&out, func() (int, int) { return 20, 5 }, time.Now)
		lines := newBuildLines(&bytes.Buffer{})
		for _, e := range append(buildEvents[:12:12], event(5_000, step, kind, text), event(5_001, step, "start", text), event(5_002, step, "done", "")) {
			pic.event(e)
			lines.event(e)
		}
		pic.draw(true)
		lines.finish(nil)
		for _, line := range pic.lines(20, true) {
			if strings.ContainsAny(line, "\x1b\n\r\t") {
				t.Errorf("a line has what drives terminals: %q", line)
			}
		}
	})
}
