package keeper

import (
	"context"
	"fmt"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// about makes a handler of what is done with one container, which the request names. R is the request's type.
func about[R interface{ Of() uint64 }](f func(*container, context.Context, R) (any, error)) handler {
	return func(s *server, ctx context.Context, _ *keeper, m *wire.Message) outcome {
		var r R
		if err := m.Decode(&r); err != nil {
			return outcome{err: err}
		}
		c, err := s.container(r.Of())
		if err != nil {
			return outcome{err: err}
		}
		body, err := f(c, ctx, r)
		return outcome{body: body, err: err}
	}
}

// container returns the one that the request id has made.
//
// Errors: CodeAlreadyFinished.
func (s *server) container(id uint64) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		return c, nil
	}
	return nil, sandbox.Errorf(sandbox.CodeAlreadyFinished, "the container has been discarded")
}

func (s *server) remember(id uint64, c *container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[id] = c
}

// discard ends and removes the container that the request id has made, if there is one.
func (s *server) discard(id uint64) error {
	c, err := s.container(id)
	if err != nil {
		return nil
	}
	err = c.discard()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, id)
	return err
}

// letGo ends the container that the request id has made, if there is one, and leaves one that is kept in the store.
func (s *server) letGo(id uint64) {
	if c, err := s.container(id); err == nil {
		_ = c.putDown() // what fails of that ends with the keeper
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.containers, id)
	}
}

// takeBack undoes a cancelled request.
func (s *server) takeBack(id uint64) {
	if c, err := s.container(id); err == nil && c.opened {
		s.letGo(id)
		return
	}
	_ = s.discard(id)
}

func (s *server) hasKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.record != nil {
			return true
		}
	}
	return false
}

// letAllGo ends all containers.
func (s *server) letAllGo() {
	var all sync.WaitGroup
	s.mu.Lock()
	for id := range s.containers {
		all.Go(func() { s.letGo(id) })
	}
	s.mu.Unlock()
	all.Wait()
}

func (s *server) discardAsked(_ context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.DiscardRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	if c, err := s.container(r.Container); err == nil {
		c.dropAnonymous.Store(r.Volumes)
	}
	return outcome{err: s.discard(r.Container)}
}

func (s *server) create(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.CreateRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := k.create(ctx, &r.Spec, s.asker(ctx, m.ID))
	return s.made(ctx, k, m.ID, c, err)
}

// made answers the request id with the container that was made for it.
func (s *server) made(ctx context.Context, k *keeper, id uint64, c *container, err error) outcome {
	if err != nil {
		return outcome{err: err}
	}
	if c.record == nil {
		c.warn(k.show(c))
	}
	s.remember(id, c)
	if ctx.Err() != nil { // cancelled before it could be found
		return outcome{err: ctx.Err(), clean: func() { _ = s.discard(id) }}
	}
	return outcome{body: c.info()}
}

// run is create, start, and discard at the end.
func (s *server) run(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.RunRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := k.create(ctx, &r.Spec, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: err}
	}
	if c.record != nil { // its program's end is put on record also if the caller is gone
		s.remember(m.ID, c)
	}
	shown := make(chan string, 1)
	go func() { shown <- k.showEarly(c) }() // nobody waits for it but who asks for the container
	p, err := c.beginOnce(m.Files)
	c.warn(<-shown)
	if err != nil {
		_ = c.putDown()
		return outcome{err: err}
	}
	m.CloseFiles()
	s.remember(m.ID, c)
	clean := func() {
		c.awaitOutputs()
		s.letGo(m.ID)
	}
	if err := s.announce(m.ID, c, c.info()); err != nil {
		return outcome{err: err, clean: clean}
	}
	exit, err := c.waitForGood(ctx, p)
	if c.record == nil {
		k.doors.close(c)
		c.emitDestroy()
		k.bulletin.flush() // whoever hears of the end may remove the store at once
	}
	if c.name != nil { // whoever hears of the end may use the name at once
		_ = c.release()
	}
	return outcome{body: exit, err: err, clean: clean}
}

func (s *server) start(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.StartRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Container)
	if err != nil {
		return outcome{err: err}
	}
	return s.startAnd(ctx, c, m, startStreams{logged: r.Log, held: r.Held, stdin: r.Stdin})
}

// startAnd starts the container's program, and answers when it has ended.
func (s *server) startAnd(ctx context.Context, c *container, m *wire.Message, w startStreams) outcome {
	if err := c.checkRestart(w.held || w.logged); err != nil {
		return outcome{err: err}
	}
	w.files = m.Files
	std, err := c.streamsFor(w)
	if err != nil {
		return outcome{err: err}
	}
	p, err := c.beginWith(std, c.begin)
	if err != nil {
		return outcome{err: err}
	}
	m.CloseFiles()
	if err := s.announce(m.ID, c, c.info()); err != nil {
		p.kill()
		return outcome{err: err}
	}
	exit, err := c.waitForGood(ctx, p)
	return outcome{body: exit, err: err}
}

// announce tells that a program is being executed, and hands its terminal over.
func (s *server) announce(id uint64, c *container, body any) error {
	err := s.conn.Send(id, sandbox.KindStarted, body, c.terminalFiles()...)
	c.closeTerminal()
	if err != nil {
		return fmt.Errorf("announce container: %w", err)
	}
	return nil
}
