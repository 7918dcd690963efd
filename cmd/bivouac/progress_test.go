package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"go.uber.org/goleak"

	"github.com/bivouac-run/bivouac/sandbox"
)

const (
	layerA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	layerB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	layerD = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	layerC = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

var pullSteps = []sandbox.Progress{
	{Layer: layerA, Kind: "exists", Current: 5, Total: 5},
	{Layer: layerB, Kind: "start", Total: 12_345_678},
	{Layer: layerB, Kind: "unpack", Total: 12_345_678},
	{Layer: layerB, Kind: "progress", Current: 6_000_000, Total: 12_345_678},
	{Kind: "retry", Text: "the registry said \x1b[31mno\x1b[0m\nand hung up"},
	{Layer: layerC, Kind: "start", Current: 2_000_000, Total: 3_000_000},
	{Layer: layerC, Kind: "note", Text: `left out a device node: "dev/null"`},
	{Layer: layerD, Kind: "start", Current: 1_000, Total: 1_000},
	{Layer: layerC, Kind: "done", Current: 3_000_000, Total: 3_000_000},
	{Layer: layerB, Kind: "done", Current: 12_345_678, Total: 12_345_678},
}

// shown returns what newProgress writes to a pipe for the steps.
func shown(t *testing.T, quiet bool, steps []sandbox.Progress) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, finish := newProgress(w, quiet)
	for _, step := range steps {
		report(step)
	}
	finish()
	w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestProgressLines(t *testing.T) {
	const want = `aaaaaaaaaaaa: Already exists
bbbbbbbbbbbb: Downloading 12.3MB
Retrying: the registry said [31mno[0m and hung up
cccccccccccc: Downloading the rest of 3MB from 2MB on
cccccccccccc: Note: left out a device node: "dev/null"
dddddddddddd: Unpacking
cccccccccccc: Done
bbbbbbbbbbbb: Done
`
	if got := shown(t, false, pullSteps); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProgressOfNothing(t *testing.T) {
	exists := []sandbox.Progress{{Layer: layerA, Kind: "exists"}, {Layer: layerB, Kind: "exists"}}
	if got := shown(t, false, exists); got != "" {
		t.Errorf("nothing to do, but shown is %q", got)
	}
	if got := shown(t, true, pullSteps); got != "" {
		t.Errorf("quiet, but shown is %q", got)
	}
}

func TestProgressOfBadLayers(t *testing.T) {
	for _, layer := range []string{"", "x", "sha256:", "sha256:\x1b[2J", ":::"} {
		got := shown(t, false, []sandbox.Progress{{Layer: layer, Kind: "start"}, {Layer: layer, Kind: "done"}, {Layer: layer, Kind: "unheard of"}})
		if strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 2 {
			t.Errorf("layer %q: shown is %q", layer, got)
		}
	}
}

// onTerminal returns what newProgress draws for the steps.
func onTerminal(t *testing.T, steps []sandbox.Progress) string {
	t.Helper()
	t.Setenv("TERM", "xterm")
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	drawn := make(chan string)
	go func() {
		out, _ := io.ReadAll(master) // ends with EIO when the terminal is closed
		drawn <- string(out)
	}()
	report, finish := newProgress(terminal, false)
	for _, step := range steps {
		report(step)
	}
	finish()
	terminal.Close()
	return <-drawn
}

func TestProgressBars(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	got := onTerminal(t, pullSteps)
	for _, want := range []string{
		"aaaaaaaaaaaa: Already exists",
		"Retrying: the registry said [31mno[0m and hung up",
		`cccccccccccc: Note: left out a device node: "dev/null"`,
		`bbbbbbbbbbbb: Done +\[=+\] 12.3MB`,
		`cccccccccccc: Done +\[=+\] 3MB`,
	} {
		if !strings.Contains(got, want) && !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(got, "\x1b[31m") {
		t.Errorf("the registry's colours are in %q", got)
	}
}

func TestProgressBarsOfFailure(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	got := onTerminal(t, pullSteps[:4])
	if !strings.Contains(got, "bbbbbbbbbbbb: Stopped") || strings.Contains(got, "Done") {
		t.Errorf("drawn is %q", got)
	}
}

func TestNothingIsDrawnForNothing(t *testing.T) {
	if got := onTerminal(t, pullSteps[:1]); got != "" {
		t.Errorf("drawn is %q", got)
	}
}

func TestWhatTerminalsCan(t *testing.T) {
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer terminal.Close()
	for _, test := range []struct {
		term, noColour string
		rows           uint16
		draw, colour   bool
	}{
		{"xterm", "", 30, true, true},
		{"xterm", "1", 30, true, false},
		{"dumb", "", 30, false, false},
		{"xterm", "", 0, false, true},
	} {
		t.Setenv("TERM", test.term)
		t.Setenv("NO_COLOR", test.noColour)
		if err := pty.Setsize(terminal, &pty.Winsize{Rows: test.rows, Cols: 80}); err != nil {
			t.Fatal(err)
		}
		if draw, colour := canDraw(terminal), canColour(terminal); draw != test.draw || colour != test.colour {
			t.Errorf("%+v: draws %v, colours %v", test, draw, colour)
		}
	}
}
