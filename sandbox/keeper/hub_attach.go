package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// attachment is somebody who sees a program's outputs, and may type.
type attachment struct {
	h      *hub
	cancel context.CancelFunc
	input  *os.File // nil without

	mu      sync.Mutex // held while an output is written to; the log's part comes first
	outputs map[string]*os.File
	typing  bool

	gone     chan struct{} // closed when nothing is left to read from or to write to
	goneOnce sync.Once
}

// attach connects files: an input if there is one, then both outputs. They are duplicated. With replay what the log has of this
// run comes first.
func (h *hub) attach(ctx context.Context, files []*os.File, stdin, replay bool) (*attachment, error) {
	a, err := h.newAttachment(ctx, files, stdin)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	h.mu.Lock()
	end := logEnd{}
	if h.log != nil {
		end = h.log.end()
	}
	h.attached = append(h.attached, a)
	h.mu.Unlock()
	if replay && h.log != nil {
		err = a.replay(ctx, end)
	}
	if a.input != nil {
		a.typing = true
		go a.read()
	}
	return a, err
}

func (h *hub) newAttachment(ctx context.Context, files []*os.File, stdin bool) (_ *attachment, err error) {
	a := &attachment{h: h, outputs: map[string]*os.File{}, gone: make(chan struct{})}
	ctx, a.cancel = context.WithCancel(ctx)
	if stdin && len(files) > 0 {
		if h.input != nil {
			a.input, err = again(ctx, files[0])
		}
		files = files[1:]
	}
	for i, stream := range []string{sandbox.StreamOutput, sandbox.StreamError} {
		if i < len(files) && err == nil && !(i == 1 && h.terminal != nil) {
			a.outputs[stream], err = again(ctx, files[i])
		}
	}
	if err != nil {
		a.closeFiles()
	}
	return a, err
}

// replay writes what the log has of this run up to an end. The caller holds the lock.
func (a *attachment) replay(ctx context.Context, end logEnd) error {
	r := &logReader{log: a.h.log, number: a.h.start.number, offset: a.h.start.size}
	return r.each(ctx, end, func(line []byte, _ int, _ int64) error {
		var e sandbox.LogEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		a.writeLocked(e.Stream, e.Text)
		return nil
	})
}

func (a *attachment) write(stream string, text []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeLocked(stream, text)
}

func (a *attachment) writeLocked(stream string, text []byte) {
	f := a.outputs[stream]
	if f == nil {
		return
	}
	if _, err := f.Write(text); err != nil { // nobody reads it any more
		_ = f.Close()
		delete(a.outputs, stream)
		a.left()
	}
}

// read passes the input on. Its end is that of the program's input if that is wanted.
func (a *attachment) read() {
	defer a.stopTyping()
	to, err := again(a.h.typing, a.h.input)
	if err != nil {
		return
	}
	defer to.Close()
	stop := context.AfterFunc(a.h.typing, func() { _ = to.Close() }) // else the program would not see the end
	defer stop()
	if _, err := io.Copy(to, a.input); err == nil && a.h.once && a.h.terminal == nil {
		a.h.closeInput()
	}
}

func (a *attachment) stopTyping() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.input.Close()
	a.typing = false
	a.left()
}

// left tells that nothing is left, if so. The caller holds the lock.
func (a *attachment) left() {
	if !a.typing && len(a.outputs) == 0 {
		a.goneOnce.Do(func() { close(a.gone) })
	}
}

// detach takes the attachment away. What is being written to it is given up.
func (a *attachment) detach() {
	a.h.mu.Lock()
	a.h.attached = slices.DeleteFunc(a.h.attached, func(b *attachment) bool { return a == b })
	a.h.mu.Unlock()
	a.leave()
}

// leave closes the attachment's files.
func (a *attachment) leave() {
	a.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closeFiles()
}

func (a *attachment) closeFiles() {
	a.cancel()
	for _, f := range a.outputs {
		if f != nil {
			_ = f.Close()
		}
	}
	clear(a.outputs)
	if a.input != nil {
		_ = a.input.Close()
	}
}

// attachStreams connects the message's files to the program's streams, and answers when the program has ended.
func (s *server) attachStreams(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.AttachStreamsRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Of())
	if err != nil {
		return outcome{err: err}
	}
	h, p, err := c.held("attach to")
	if err != nil {
		return outcome{err: err}
	}
	c.emit("attach")
	a, err := h.attach(ctx, m.Files, r.Stdin, r.Replay)
	if err != nil {
		return outcome{err: errors.Join(err, ctx.Err())}
	}
	m.CloseFiles()
	if r.Size != nil {
		h.redraw(*r.Size)
	}
	select {
	case <-h.ended:
	case <-a.gone:
	case <-ctx.Done():
	}
	a.detach()
	if !p.hasEnded() {
		c.emit("detach")
	}
	return outcome{err: ctx.Err()}
}

// held returns the streams of the program that runs.
//
// Errors: CodeInvalid if they are not held; those of [container.running].
func (c *container) held(doing string) (*hub, *program, error) {
	p, err := c.running(doing)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hub == nil {
		return nil, nil, sandbox.Errorf(sandbox.CodeInvalid, "%s container %s: its streams are those of whoever started it", doing, c.displayName()).
			WithRemedy("only containers of bivouac run -d, start, and run with a name hold them")
	}
	return c.hub, p, nil
}

// awaitOutputs returns once everybody who is attached has all that the ended program has written, or has left, or the container
// is to be discarded.
func (c *container) awaitOutputs() {
	c.mu.Lock()
	h := c.hub
	c.mu.Unlock()
	if h == nil {
		return
	}
	select {
	case <-h.ended:
	case <-c.life.Done():
	}
}

func (c *container) resizeTerminal(_ context.Context, r sandbox.ResizeTerminalRequest) (any, error) {
	h, _, err := c.held("resize the terminal of")
	if err != nil {
		return nil, err
	}
	return nil, h.resize(r.Size)
}
