package main

import (
	"cmp"
	"os"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/sandbox"
)

// progressView shows what a pull does. It is called from one goroutine.
type progressView interface {
	report(sandbox.Progress)
	finish()
}

// newProgress returns what to call for each step of a pull, and what to call at its end, also after a failure. On a
// terminal there is a bar for each layer, elsewhere a line for its start and its end. Nothing is shown, and nothing set
// up, as long as there is nothing to do but to find layers in the store.
func newProgress(w *os.File, quiet bool) (report func(sandbox.Progress), finish func()) {
	return newProgressOf(w, quiet, pullWords)
}

func newProgressOf(w *os.File, quiet bool, words progressWords) (report func(sandbox.Progress), finish func()) {
	if quiet {
		return func(sandbox.Progress) {}, func() {}
	}
	p := &progress{open: func() progressView { return newLines(w, words) }}
	if canDraw(w) {
		p.open = func() progressView { return newBars(w, words) }
	}
	return p.report, p.finish
}

// progressWords say what happens to a layer: while its bytes move, after the last one, and at its end.
type progressWords struct{ moving, moved, done string }

var (
	pullWords = progressWords{"Downloading", "Unpacking", "Done"}
	loadWords = progressWords{"Reading", "Unpacking", "Done"}
	pushWords = progressWords{"Pushing", "Waiting for the registry", "Pushed"}
)

// progress holds back the layers that are in the store until one comes that is not.
type progress struct {
	open func() progressView
	view progressView
	held []sandbox.Progress
}

func (p *progress) report(step sandbox.Progress) {
	if p.view == nil && step.Kind == "exists" {
		p.held = append(p.held, step)
		return
	}
	if p.view == nil {
		p.view = p.open()
		for _, exists := range p.held {
			p.view.report(exists)
		}
	}
	p.view.report(step)
}

func (p *progress) finish() {
	if p.view != nil {
		p.view.finish()
	}
}

// layerName is how a layer is called in output.
func layerName(layer string) string { return printable(shortID(digest.Digest(layer))) }

func humanSize(bytes int64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

// remark is the text of a step that is about more than numbers; with the layer, if it is about one.
func remark(step sandbox.Progress) string {
	text := printable(step.Text)
	switch step.Kind {
	case "retry":
		text = "Retrying: " + text
	case "note":
		text = "Note: " + text
	case "exists":
		text = cmp.Or(text, "Already exists")
	}
	if step.Layer == "" {
		return text
	}
	return layerName(step.Layer) + ": " + text
}
