package keeper

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/sandbox"
)

// hub holds the streams of one run of a program. It reads the outputs, or the terminal, into the log and to everybody who is
// attached, and passes on what they type. Whoever is attached and does not read holds the program up, as with Docker: nothing
// of the output is lost on the way.
type hub struct {
	log   *outputLog // nil without
	start logEnd     // where the log ended when the program began
	once  bool       // the input ends with the first that is attached

	terminal *os.File // our end, nil without; the input then is the same file
	input    *os.File // our end of the program's input, nil without

	typing   context.Context // ends with the input
	endInput context.CancelFunc
	outputs  sync.WaitGroup
	ended    chan struct{} // closed once the program has ended and all of its output was delivered

	mu       sync.Mutex // held while output goes to the log, and while somebody is attached
	attached []*attachment
}

func newHub(l *outputLog) *hub {
	h := &hub{log: l, ended: make(chan struct{})}
	h.typing, h.endInput = context.WithCancel(context.Background())
	if l != nil {
		h.start = l.end()
	}
	return h
}

// take reads an output, in the background, until its end.
func (h *hub) take(f *os.File, stream string) {
	if h.log != nil {
		h.log.open()
	}
	w := &logWriter{log: h.log, stream: stream}
	h.outputs.Go(func() {
		defer w.close()
		defer f.Close()
		buf := make([]byte, logPiece)
		for {
			n, err := f.Read(buf)
			h.deliver(w, buf[:n])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				h.deliverRest(f, w, buf)
			}
			if err != nil { // the end; of a terminal that is EIO
				return
			}
		}
	})
}

// deliverRest delivers what is there by now of an output that somebody keeps open.
func (h *hub) deliverRest(f *os.File, w *logWriter, buf []byte) {
	for {
		n, err := readNow(f, buf)
		if err != nil || n <= 0 {
			return
		}
		h.deliver(w, buf[:n])
	}
}

func (h *hub) deliver(w *logWriter, text []byte) {
	if len(text) == 0 {
		return
	}
	h.mu.Lock()
	if h.log != nil {
		w.add(text, time.Now())
	}
	attached := slices.Clone(h.attached)
	h.mu.Unlock()
	for _, a := range attached {
		a.write(w.stream, text)
	}
}

// run is called when all outputs are taken. Once the program has ended, for good, outputs that somebody else may still have
// open are waited for no longer than logSlack.
func (h *hub) run(outputs []*os.File, waitForEnd func()) {
	go func() {
		waitForEnd()
		h.closeInput()
		late := time.Now().Add(logSlack)
		for _, f := range outputs {
			_ = f.SetReadDeadline(late) // fails only for what is closed
		}
		h.outputs.Wait()
		close(h.ended)
		for _, a := range h.leaving() {
			a.leave()
		}
		if h.terminal != nil {
			_ = h.terminal.Close()
		}
	}()
}

// leaving takes the attached ones away.
func (h *hub) leaving() []*attachment {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.attached
	h.attached = nil
	return list
}

// closeInput ends the program's input. A terminal goes on, but nobody types any more.
func (h *hub) closeInput() {
	h.endInput()
	if h.input != nil && h.input != h.terminal {
		_ = h.input.Close()
	}
}

// resize changes the terminal's size.
func (h *hub) resize(size sandbox.TerminalSize) error {
	if h.terminal == nil {
		return sandbox.Errorf(sandbox.CodeInvalid, "resize the terminal: the program has none that is held")
	}
	return handle.Control(h.terminal, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
	})
}

// redraw gives the terminal a size, and lets its programs know also if it had that before. One without a terminal has nothing to
// be drawn.
func (h *hub) redraw(size sandbox.TerminalSize) {
	other := size
	other.Rows++
	_ = h.resize(other)
	_ = h.resize(size)
}
