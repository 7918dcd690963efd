package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// server answers one caller.
type server struct {
	conn   *wire.Conn
	keeper func() (*keeper, error) // made once; its failure fails every request

	handlers   sync.WaitGroup
	mu         sync.Mutex
	cancels    map[uint64]context.CancelFunc
	helped     map[uint64]chan sandbox.HelperResult
	containers map[uint64]*container
}

// serve returns when the caller is gone. Whatever still runs is ended by the kernel when this process exits.
func serve(conn *wire.Conn) {
	s := &server{conn: conn, cancels: map[uint64]context.CancelFunc{}, helped: map[uint64]chan sandbox.HelperResult{}, containers: map[uint64]*container{}, keeper: sync.OnceValues(newKeeper)}
	go func() { _, _ = s.keeper() }() // while the first request is on its way
	if s.greet() != nil {
		return
	}
	for {
		m, err := conn.Receive()
		if err != nil {
			break
		}
		s.dispatch(m)
	}
	s.close()
}

// close leaves everything to the kernel, which ends it all with this process, but for files on disk and cgroups.
func (s *server) close() {
	k, err := s.keeper()
	if err != nil || !k.scratch.onDisk && !k.cgroups.Load() {
		return
	}
	s.mu.Lock()
	for _, cancel := range s.cancels {
		cancel()
	}
	s.mu.Unlock()
	s.handlers.Wait()
	k.scratch.close()
}

// greet answers the caller's greeting with our own; it is the caller's part to refuse another version.
func (s *server) greet() error {
	m, err := s.conn.Receive()
	if err != nil {
		return err
	}
	m.CloseFiles()
	return s.conn.Send(0, sandbox.KindHello, sandbox.Hello{Protocol: sandbox.ProtocolVersion, Version: sandbox.Version})
}

func (s *server) dispatch(m *wire.Message) {
	switch m.Kind {
	case sandbox.KindCancel:
		m.CloseFiles()
		s.cancel(m.ID)
		return
	case sandbox.KindHelped:
		m.CloseFiles()
		s.deliverHelp(m)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.cancels[m.ID] = cancel
	s.mu.Unlock()
	s.handlers.Go(func() {
		defer s.cancel(m.ID)
		defer m.CloseFiles()
		s.answer(m.ID, s.handle(ctx, m))
	})
}

func (s *server) cancel(id uint64) {
	s.mu.Lock()
	cancel := s.cancels[id]
	delete(s.cancels, id)
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// outcome is how a request ended; clean runs after the answer.
type outcome struct {
	body  any
	err   error
	clean func()
}

func (s *server) answer(id uint64, o outcome) {
	// A failed send means that the caller is gone, which the receiving loop sees too.
	if o.err != nil {
		_ = s.conn.Send(id, sandbox.KindFailed, toWire(o.err))
	} else {
		_ = s.conn.Send(id, sandbox.KindDone, o.body)
	}
	if o.clean != nil {
		o.clean()
	}
}

func (s *server) handle(ctx context.Context, m *wire.Message) outcome {
	k, err := s.keeper()
	if err != nil {
		return outcome{err: err}
	}
	switch m.Kind {
	case sandbox.KindPull:
		return s.pull(ctx, k, m)
	case sandbox.KindRun:
		return s.run(ctx, k, m)
	case sandbox.KindRemove:
		return outcome{err: k.remove(m)}
	case sandbox.KindSignal:
		return outcome{err: s.signal(m)}
	default:
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "the keeper does not know the request %q", m.Kind)}
	}
}

func (s *server) pull(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.PullRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	image, err := k.pull(ctx, r.Image, r.Get, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: err}
	}
	return outcome{body: imageInfo(image)}
}

func (s *server) run(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.RunRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := k.create(ctx, &r.Spec, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: err}
	}
	if err := c.start(m.Files); err != nil {
		c.discard()
		return outcome{err: err}
	}
	c.ran = true
	m.CloseFiles()
	s.remember(m.ID, c)
	if err := s.announce(m.ID, c); err != nil {
		return outcome{err: err, clean: c.discard}
	}
	exit, err := c.wait(ctx)
	s.remember(m.ID, nil)
	if c.name != nil { // whoever hears of the end may use the name at once
		c.unmount()
		c.name.Unlock()
	}
	return outcome{body: exit, err: err, clean: c.discard}
}

func (s *server) announce(id uint64, c *container) error {
	err := s.conn.Send(id, sandbox.KindStarted, c.started(), c.terminalFiles()...)
	c.closeTerminal()
	if err != nil {
		return fmt.Errorf("announce container: %w", err)
	}
	return nil
}

func (s *server) remember(id uint64, c *container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c == nil {
		delete(s.containers, id)
		return
	}
	s.containers[id] = c
}

func (s *server) signal(m *wire.Message) error {
	var r sandbox.SignalRequest
	if err := m.Decode(&r); err != nil {
		return err
	}
	s.mu.Lock()
	c := s.containers[r.Run]
	s.mu.Unlock()
	if c == nil {
		return sandbox.Errorf(sandbox.CodeAlreadyFinished, "signal the container: it has ended")
	}
	err := c.signal(syscall.Signal(r.Signal))
	if errors.Is(err, syscall.EINVAL) {
		return sandbox.Errorf(sandbox.CodeInvalid, "send signal %d: no such signal", r.Signal)
	}
	return err
}
