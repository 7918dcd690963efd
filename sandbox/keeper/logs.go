package keeper

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// logSlack is how long the last output of a program that has ended may take to come into the log. Its processes are gone,
// but somebody else may have been given the pipe.
const logSlack = time.Second

// logs writes the log to the caller's pipe. The end of the pipe comes before the answer.
func (s *server) logs(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.LogsRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	if len(m.Files) != 1 {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "read a log: %d pipes where one was expected", len(m.Files))}
	}
	c, err := s.container(r.Of())
	if err != nil {
		return outcome{err: err}
	}
	l, err := c.logToRead(ctx, r.Spec)
	if err != nil {
		return outcome{err: err}
	}
	pipe, err := endWith(ctx, m.Files[0])
	if err != nil {
		return outcome{err: err}
	}
	defer pipe.Close()
	m.CloseFiles()
	if err := s.conn.Send(m.ID, sandbox.KindCopying, nil); err != nil {
		return outcome{err: err}
	}
	return outcome{err: l.copyTo(ctx, pipe, r.Spec)}
}

// logToRead returns the container's log, with all that its program has written if that has ended.
func (c *container) logToRead(ctx context.Context, spec sandbox.LogsSpec) (*outputLog, error) {
	if spec.Tail != nil && *spec.Tail < 0 {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "read a log: the last %d lines", *spec.Tail).WithRemedy("give a number that is not negative")
	}
	c.mu.Lock()
	l, p, discarding := c.log, c.last, c.discarding
	c.mu.Unlock()
	switch {
	case discarding:
		return nil, c.gone("read the log of")
	case l == nil:
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "read the log of container %s: it has none, its output went to whoever started it", c.displayName()).
			WithRemedy("only those of bivouac run -d and bivouac restore have one")
	case p == nil || p.hasEnded():
		l.await(ctx, logSlack, false)
	}
	return l, nil
}

// openLog returns the container's log, which is made when it is first asked for.
func (c *container) openLog() (*outputLog, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.discarding {
		return nil, c.gone("log the output of")
	}
	if c.log == nil {
		l, err := newOutputLog(c.k.home)
		if err != nil {
			return nil, err
		}
		c.log = l
	}
	return c.log, nil
}

// streams are the standard streams of a start, of which the keeper reads the outputs if they are to be logged.
type streams struct {
	files  []*os.File // what the program gets
	log    *outputLog // nil without
	ours   []*os.File // the reading ends of both outputs
	theirs []*os.File // those of files that were made here
}

// streamsOf returns the caller's streams, or with a log the caller's input and pipes to the log. An input that is not there
// is the null device.
func (c *container) streamsOf(files []*os.File, logged bool) (_ *streams, err error) {
	s := &streams{files: files}
	if !logged {
		return s, nil
	}
	if s.log, err = c.openLog(); err != nil || c.spec.Terminal != nil {
		return s, err
	}
	s.files = nil
	if err := errors.Join(s.addInput(files), s.addOutput(), s.addOutput()); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *streams) addInput(files []*os.File) error {
	if len(files) > 0 {
		s.files = append(s.files, files[0])
		return nil
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	s.files, s.theirs = append(s.files, null), append(s.theirs, null)
	return nil
}

func (s *streams) addOutput() error {
	r, w, err := outputPipe()
	if err != nil {
		return err
	}
	s.files, s.ours, s.theirs = append(s.files, w), append(s.ours, r), append(s.theirs, w)
	return nil
}

// begun is called when the program runs, with its terminal if it has one. The log takes the outputs over, and the program's
// ends are closed here. It returns the terminal that is left to the caller.
func (s *streams) begun(terminal *os.File) *os.File {
	if s.log == nil {
		return terminal
	}
	for i, stream := range []string{sandbox.StreamOutput, sandbox.StreamError}[:len(s.ours)] {
		s.log.take(s.ours[i], stream)
	}
	s.ours = nil
	if terminal != nil {
		s.log.take(terminal, sandbox.StreamOutput)
	}
	s.close()
	return nil
}

// close closes what was made here and not taken over. Nothing is in it that could be lost.
func (s *streams) close() {
	for _, f := range append(s.ours, s.theirs...) {
		_ = f.Close()
	}
	s.ours, s.theirs = nil, nil
}

// closeLog gives the log up once those have it who follow it. Nothing runs in the container any more.
func (c *container) closeLog() {
	c.mu.Lock()
	l := c.log
	c.mu.Unlock()
	if l != nil {
		l.await(context.Background(), logSlack, true)
		l.close()
	}
}

// discardAtEnd has the container discarded once its program has ended.
func (c *container) discardAtEnd(context.Context, sandbox.DiscardAtEndRequest) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.discarding:
		return nil, c.gone("discard")
	case c.last == nil:
		return nil, sandbox.Errorf(sandbox.CodeNotRunning, "discard container %s at its end: its program was not started", c.displayName())
	case !c.mortal:
		c.mortal = true
		go c.discardAfter(c.last)
	}
	return nil, nil
}

// discardAfter waits for the end of a program, or of that which a checkpoint starts in its place.
func (c *container) discardAfter(p *program) {
	_, _ = c.waitFor(context.Background(), p)
	_ = c.discard() // what fails of that ends with the keeper
}
