package testkit

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestAPoolRunsAhead(t *testing.T) {
	e := newFakeEngine()
	e.clone = listens
	p := preparedOn(t, e, Pool(3), Ready(Port(80).Inside()))
	e.program = listens
	if s := p.PoolStats(); s.Made+s.Ready+s.Size != 0 {
		t.Errorf("before the first start: %+v", s)
	}
	tb := &fakeTB{}
	var started *Container
	tb.test(func() { started = p.Start(tb) })
	if started == nil {
		t.Fatal(tb.fatal)
	}
	waitUntil(t, func() bool { return p.PoolStats().Ready == 3 })
	before := e.counts()
	hooked := false
	if strings.Contains(tb.log(), "pool") {
		t.Errorf("the pool has nothing to say yet: %q", tb.log())
	}
	var c *Container
	tb.test(func() {
		c = p.Start(tb, AfterReady(func(context.Context, *Container) error { hooked = true; return nil }), LogTo(tb))
	})
	if e.counts() != before && p.PoolStats().Taken != 2 || !hooked || c.tb != tb {
		t.Errorf("%s became %s, %+v, hooked %v", before, e.counts(), p.PoolStats(), hooked)
	}
	if !strings.Contains(tb.log(), "testkit: pool of image:1: ") || !strings.Contains(tb.log(), "of 3 clones ready") {
		t.Errorf("got the log %q", tb.log())
	}
	waitUntil(t, func() bool { return p.PoolStats().Ready == 3 })

	tb.test(func() { c = p.Start(tb, Name("mine")) }) // which one that runs cannot have
	if s := p.PoolStats(); s.Taken != 2 || s.Missed != 1 || s.Ready != 3 || c.settings.spec.Name != "mine" {
		t.Errorf("got %+v", s)
	}
	tb.cleanup()
	if n := e.alive(); n != 3 {
		t.Errorf("%d containers are there, not the 3 that are ready", n)
	}
	if err := p.keeper.shutdown(); err != nil {
		t.Error(err)
	}
	if s := p.PoolStats(); s.Ready != 0 || e.alive() != 0 {
		t.Errorf("after Shutdown: %+v, %d alive", s, e.alive())
	}
}

func TestAPoolWaitsForTheTests(t *testing.T) {
	e := newFakeEngine()
	p := preparedOn(t, e, Pool(1))
	hold := make(chan struct{})
	done := make(chan error)
	go func() {
		c, err := p.New(t.Context(), AfterReady(func(context.Context, *Container) error {
			<-hold
			return nil
		}))
		done <- errors.Join(err, c.Close())
	}()
	for range 2 {
		c, err := p.New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.PoolStats(); s.Made != 0 {
		t.Errorf("it was filled while a test was being served: %+v", s)
	}
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return p.PoolStats().Ready == 1 })
}

func TestAPoolThatCannotBeFilled(t *testing.T) {
	e := newFakeEngine()
	p := preparedOn(t, e, Pool(1))
	var full atomic.Bool
	full.Store(true)
	e.revive = func(sandbox.Snapshot, int) error {
		if full.Load() && len(e.restored) > 1 {
			return errors.New("no memory")
		}
		return nil
	}
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	waitUntil(t, func() bool { return p.PoolStats().Err != nil })
	expectError(t, p.PoolStats().Err, "no memory")
	if !strings.Contains(p.PoolStats().String(), "0 of 1 clones ready (0 B of memory), 0 made ahead, 1 taken, 0 missed, the last could not be made: ") {
		t.Errorf("got %v", p.PoolStats())
	}
	full.Store(false)
	c, err = p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	waitUntil(t, func() bool { return p.PoolStats().Ready == 1 && p.PoolStats().Err == nil })
}

func TestAPooledCloneThatHasDiedIsNotHandedOut(t *testing.T) {
	e := newFakeEngine()
	p := preparedOn(t, e, Pool(1))
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	waitUntil(t, func() bool { return p.PoolStats().Ready == 1 })
	dead := p.pool.ready[0].c
	if err := dead.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err = p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c == dead || !c.current().isRunning() {
		t.Error("a dead clone was handed out")
	}
}

func TestAPooledCloneOfADeadKeeperIsNotHandedOut(t *testing.T) {
	e := newFakeEngine()
	p := preparedOn(t, e, Pool(1))
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	waitUntil(t, func() bool { return p.PoolStats().Ready == 1 })
	e.end.Do(func() { close(e.ended) }) // its clones have not heard of it
	if c := p.pool.take(nothingMore()); c != nil {
		t.Errorf("it was handed out: %v", c)
	}
}
