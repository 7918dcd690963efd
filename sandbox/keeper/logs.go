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
	if c.record != nil && !c.spec.Log.None {
		if _, err := c.openLog(); err != nil { // that of earlier runs
			return nil, err
		}
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
		l, err := c.makeLog()
		if err != nil {
			return nil, err
		}
		c.log = l
	}
	return c.log, nil
}

// makeLog makes the log, or goes on with that of a container that was there before.
func (c *container) makeLog() (*outputLog, error) {
	if c.record != nil {
		return openNamedLog(c.record.dir, c.spec.Log)
	}
	return newOutputLog(c.k.home, c.spec.Log)
}

// startStreams says what the streams of a start are.
type startStreams struct {
	// files are the caller's: the program's own three, or with held those to attach, of which the first is an input if stdin.
	files       []*os.File
	logged      bool // the outputs go to the log
	held, stdin bool // all streams are the keeper's
}

// streams are the standard streams of a start.
type streams struct {
	c      *container
	files  []*os.File // what the program gets
	hub    *hub       // nil where the caller has the outputs
	ours   []*os.File // the reading ends of both outputs
	theirs []*os.File // those of files that were made here

	attach []*os.File // to what is held, from the start
	stdin  bool
}

// streamsOf returns the caller's streams, or with a log the caller's input and pipes to the log. An input that is not there
// is the null device.
func (c *container) streamsOf(files []*os.File, logged bool) (*streams, error) {
	return c.streamsFor(startStreams{files: files, logged: logged})
}

// streamsFor makes what a program needs that is about to start. Then [streams.begun] or [streams.close] is to be called.
func (c *container) streamsFor(w startStreams) (_ *streams, err error) {
	s := &streams{c: c, files: w.files}
	if !w.logged && !w.held {
		return s, nil
	}
	var l *outputLog
	if !w.held || !c.spec.Log.None {
		if l, err = c.openLog(); err != nil {
			return nil, err
		}
	}
	s.hub, s.files = newHub(l), nil
	s.hub.once = c.spec.StdinOnce
	if w.held {
		s.attach, s.stdin, w.files = w.files, w.stdin, nil
	}
	if c.spec.Terminal != nil {
		return s, nil
	}
	if err := errors.Join(s.addInput(w), s.addOutput(), s.addOutput()); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *streams) addInput(w startStreams) (err error) {
	if len(w.files) > 0 {
		s.files = append(s.files, w.files[0])
		return nil
	}
	var theirs *os.File
	if w.held && s.c.spec.OpenStdin {
		theirs, s.hub.input, err = inputPipe()
	} else {
		theirs, err = os.Open(os.DevNull)
	}
	if err != nil {
		return err
	}
	s.files, s.theirs = append(s.files, theirs), append(s.theirs, theirs)
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

// begun is called when the program runs, with its terminal if it has one. The hub takes the outputs over, and the program's
// ends are closed here. It returns the terminal that is left to the caller.
func (s *streams) begun(terminal *os.File) *os.File {
	c := s.c
	c.mu.Lock()
	p := c.last
	c.hub = s.hub
	c.mu.Unlock()
	if s.hub == nil {
		return terminal
	}
	outputs := s.ours
	if terminal != nil {
		if ours, err := again(context.Background(), terminal); err == nil { // one that can be waited for
			_ = terminal.Close()
			terminal = ours
		}
		s.hub.terminal, outputs = terminal, []*os.File{terminal}
		if c.spec.OpenStdin {
			s.hub.input = terminal
		}
	}
	if len(s.attach) > 0 { // what fails of it is that nobody is attached
		_, _ = s.hub.attach(context.Background(), s.attach, s.stdin, false)
	}
	for i, stream := range []string{sandbox.StreamOutput, sandbox.StreamError}[:len(outputs)] {
		s.hub.take(outputs[i], stream)
	}
	s.hub.run(outputs, func() { _, _ = c.waitFor(context.Background(), p) })
	s.ours = nil
	closeFiles(s.theirs)
	s.theirs = nil
	return nil
}

// holdOn has the log, and who attaches, get the outputs of a program that runs from now on, or its terminal.
func (c *container) holdOn(outputs []*os.File, isTerminal bool) error {
	l, err := c.openLog()
	if err != nil {
		return err
	}
	s := &streams{c: c, hub: newHub(l)}
	var terminal *os.File
	if isTerminal {
		terminal, outputs = outputs[0], outputs[1:]
		c.mu.Lock()
		c.spec.OpenStdin = true // whoever attaches has the whole terminal
		c.mu.Unlock()
	}
	for _, f := range outputs[:min(2, len(outputs))] {
		ours, err := again(context.Background(), f) // one that can be waited for
		if err != nil {
			return err
		}
		s.ours = append(s.ours, ours)
	}
	closeFiles(outputs)
	s.begun(terminal)
	return nil
}

// close closes what was made here and not taken over. Nothing is in it that could be lost.
func (s *streams) close() {
	closeFiles(s.ours)
	closeFiles(s.theirs)
	s.ours, s.theirs = nil, nil
	if s.hub != nil {
		s.hub.closeInput()
	}
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
	c.awaitOutputs()
	_ = c.discard() // what fails of that ends with the keeper
}
