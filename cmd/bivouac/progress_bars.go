package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/bivouac-run/bivouac/sandbox"
)

// bars shows progress to somebody who watches.
type bars struct {
	all    *mpb.Progress
	words  progressWords
	layers map[string]*layerBar
}

// refreshRate is also how long the end of a pull waits for the last picture.
const refreshRate = 60 * time.Millisecond

func newBars(w *os.File, words progressWords) *bars {
	return &bars{words: words, all: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithRefreshRate(refreshRate)), layers: map[string]*layerBar{}}
}

func (b *bars) report(step sandbox.Progress) {
	switch step.Kind {
	case "start", "progress":
		b.layer(step).downloaded(step)
	case "unpack":
		b.layer(step)
	case "done":
		b.layer(step).SetTotal(step.Total, true)
	case "retry", "note", "exists":
		_, _ = fmt.Fprintln(b.all, remark(step)) // above the bars
	}
}

// finish leaves the bars as they are. Those of layers that are not done say so.
func (b *bars) finish() {
	for _, l := range b.layers {
		l.Abort(false) // does nothing to a bar that is complete
	}
	b.all.Wait()
}

// layer returns the bar of a step's layer.
func (b *bars) layer(step sandbox.Progress) *layerBar {
	l := b.layers[step.Layer]
	if l == nil {
		l = newLayerBar(b.all, step, b.words)
		b.layers[step.Layer] = l
	}
	return l
}

// layerBar is the bar of one layer.
type layerBar struct {
	*mpb.Bar
	words progressWords
	loads atomic.Bool // read by the goroutine that draws
}

func newLayerBar(all *mpb.Progress, step sandbox.Progress, words progressWords) *layerBar {
	l := &layerBar{words: words}
	state := decor.Any(l.state, decor.WC{W: 14, C: decor.DindentRight})
	l.Bar = all.AddBar(0, // completed by us alone: a layer is not done when its last byte is here
		mpb.PrependDecorators(decor.Name(layerName(step.Layer)), state), mpb.AppendDecorators(decor.Any(sizes)))
	l.SetTotal(step.Total, false)
	return l
}

func (l *layerBar) downloaded(step sandbox.Progress) {
	l.loads.Store(true)
	l.SetTotal(step.Total, false)
	l.SetCurrent(step.Current)
}

func (l *layerBar) state(s decor.Statistics) string {
	switch {
	case s.Completed:
		return ": " + l.words.done
	case s.Aborted:
		return ": Stopped"
	case l.loads.Load() && s.Current < s.Total:
		return ": " + l.words.moving
	}
	return ": " + l.words.moved
}

func sizes(s decor.Statistics) string {
	if s.Total <= 0 || s.Current >= s.Total {
		return humanSize(s.Current)
	}
	return humanSize(s.Current) + "/" + humanSize(s.Total)
}
