package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildView shows what a build does. Events come from one goroutine, and so does the end.
type buildView interface {
	event(sandbox.BuildEvent)
	// finish shows the end of the build, which failed if err is not nil.
	finish(err error)
	// made shows the id and the names of the image that a build has come to, after its end.
	made(id string, names []string)
}

// newView chooses how to show progress: on a terminal a picture that is drawn again and again, elsewhere lines.
func (f *buildFlags) newView(w *os.File) buildView {
	kind := f.progress
	if kind == "auto" {
		kind = "plain"
		if canDraw(w) {
			kind = "tty"
		}
	}
	if f.quiet {
		kind = "quiet"
	}
	switch kind {
	case "tty":
		return newBuildPicture(w)
	case "json", "rawjson":
		return &buildJSON{json.NewEncoder(w)}
	case "quiet":
		return &buildSilence{w, newBuildSteps()}
	}
	return newBuildLines(w)
}

// buildSilence shows nothing but why a build failed.
type buildSilence struct {
	w     io.Writer
	steps *buildSteps
}

func (v *buildSilence) event(e sandbox.BuildEvent) { v.steps.take(e) }

func (v *buildSilence) finish(err error) { v.steps.explain(v.w, err) }

// made shows nothing: who wants to know has the standard output.
func (v *buildSilence) made(string, []string) {}

// buildJSON writes each event as a line.
type buildJSON struct{ out *json.Encoder }

func (v *buildJSON) event(e sandbox.BuildEvent) {
	_ = v.out.Encode(struct { // with standard error gone there is nobody left to tell
		Step    int       `json:"step"`
		Kind    string    `json:"kind"`
		Time    time.Time `json:"time"`
		Name    string    `json:"name,omitempty"`
		Text    string    `json:"text,omitempty"`
		Stream  string    `json:"stream,omitempty"`
		Layer   string    `json:"layer,omitempty"`
		Current int64     `json:"current,omitempty"`
		Total   int64     `json:"total,omitempty"`
	}{e.Step, e.Kind, e.Time, e.Name, string(e.Text), e.Stream, e.Layer, e.Current, e.Total})
}

func (v *buildJSON) finish(error) {}

// made shows nothing: programs read --iidfile and --metadata-file.
func (v *buildJSON) made(string, []string) {}

// tellImage prints the id and the names of an image, each line behind a prefix.
func tellImage(w io.Writer, prefix, suffix, id string, names []string) {
	fmt.Fprintf(w, "%swriting image %s%s\n", prefix, printable(id), suffix) // with standard error gone there is nobody left to tell
	for _, name := range names {
		fmt.Fprintf(w, "%snaming to %s%s\n", prefix, printable(name), suffix)
	}
}

// explain prints the end of the output of steps that failed, and the lines of the Dockerfile that the error is about.
func (b *buildSteps) explain(w io.Writer, err error) {
	if err == nil {
		return
	}
	for _, s := range b.list {
		if s.state != "failed" || len(s.tail) == 0 {
			continue
		}
		fmt.Fprintf(w, "------\n > %s:\n", s.name) // with standard error gone there is nobody left to tell
		for _, l := range s.tail {
			fmt.Fprintf(w, "%.3f %s\n", l.at.Seconds(), l.text)
		}
		fmt.Fprintln(w, "------")
	}
	if failed := (*sandbox.Error)(nil); errors.As(err, &failed) && failed.Detail != "" {
		const rule = "--------------------"
		fmt.Fprintln(w, rule)
		for line := range strings.Lines(failed.Detail) {
			fmt.Fprintln(w, harmless([]byte(strings.TrimSuffix(line, "\n"))))
		}
		fmt.Fprintln(w, rule)
	}
}
