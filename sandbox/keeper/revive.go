package keeper

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/snapshot/criu"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// waker is a CRIU that is about to bring processes back.
type waker struct {
	run     *criuRun
	err     error
	first   chan int      // gets the number of the container's first process
	started chan struct{} // closed once run or err is there
	hold    atomic.Bool   // no id is emulated as long as CRIU itself would be told
	inherit []criu.Inherited
}

// callCRIU begins to start CRIU while the container is being made. It goes on when it gets to know the first process, whose
// namespaces and mounts are there by then.
func (c *container) callCRIU(stdio []*os.File) *waker {
	w := &waker{first: make(chan int, 1), started: make(chan struct{})}
	w.hold.Store(true)
	o := criuOptions{images: c.source.snap.Images()}
	for i, key := range c.source.detail.Tree.Streams {
		known := slices.ContainsFunc(w.inherit, func(i criu.Inherited) bool { return i.Key == key })
		if strings.HasPrefix(key, "pipe:") && !known {
			w.inherit = append(w.inherit, criu.Inherited{Key: key})
			o.streams = append(o.streams, stdio[i])
		}
	}
	c.emulateLater(&o, &w.hold)
	go func() {
		defer close(w.started)
		w.run, w.err = c.startCRIU(w.first, o)
	}()
	return w
}

// reviveLimit is how long CRIU may take to bring processes back. It reads some 500 MB a second.
const reviveLimit = 2 * time.Minute

// revive brings the processes of a snapshot back into a container whose first process waits for them. Where it fails
// everything in the container is killed.
func (c *container) revive() error {
	w := c.waker
	<-w.started
	if w.err != nil {
		return w.err
	}
	for i, fd := range w.run.streams {
		w.inherit[i].FD = fd
	}
	ctx, cancel := context.WithTimeout(c.life, reviveLimit)
	defer cancel()
	_, err := criu.Restore(ctx, w.run.conn, criu.RestoreOptions{
		Images: w.run.images, LogFile: logFile, LogLevel: restoreLogLevel, Inherit: w.inherit,
	}, criu.Hooks{PreResume: func() error {
		w.hold.Store(false)
		return c.checkConfined(w.run)
	}})
	if err != nil {
		_ = c.first.Signal(unix.SIGKILL) // before the connection is closed: CRIU lets what is there run then
		return fmt.Errorf("restore container %s: %w", c.displayName(), w.run.explain("restore processes", err))
	}
	return nil
}

// checkConfined judges the processes that CRIU has made before they run: their images may say what they like.
func (c *container) checkConfined(r *criuRun) error {
	tree, err := descendants(r.process.cmd.Process.Pid)
	if err != nil {
		return err
	}
	return criu.CheckConfined("/proc", tree[1:], criu.Confinement{ // the first is CRIU
		Capabilities: capabilityBits(c.config.Capabilities.Bounding), NoNewPrivileges: true, Filtered: c.filters() > 0,
	})
}

// end has CRIU end in the background: its answer is there, or does not matter.
func (w *waker) end() {
	if w == nil {
		return
	}
	close(w.first)
	<-w.started // until then it uses the streams
	if w.run != nil {
		go w.run.end()
	}
}

// emulateLater has CRIU, and so what it restores, run under the filter that emulates ids, for users with a single one.
// Nothing is emulated for CRIU itself.
func (c *container) emulateLater(o *criuOptions, hold *atomic.Bool) {
	if !c.k.single() {
		return
	}
	o.notify = c.plan.notify
	options := c.emulated()
	options.Hold = hold
	first := c.first
	o.serve = func(listener *os.File) {
		defer listener.Close()
		if err := emulate.Serve(listener, options); err != nil {
			fmt.Fprintf(os.Stderr, "bivouac: emulate ids: %v\n", err)
			_ = first.Signal(unix.SIGKILL)
		}
	}
}
