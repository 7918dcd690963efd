package testkit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Prepared is a container that was started once, made ready, prepared and checkpointed, for any number of tests that each
// get a clone of it. Its methods may be called from any goroutine.
type Prepared struct {
	image  string
	opts   []Option
	keeper *keeper
	pool   *pool

	mu     sync.Mutex
	base   *settings
	found  *found  // nil until there is a checkpoint
	flight *flight // nil unless somebody looks for one
}

// Checkpoint says what to start and prepare once, and how, and does nothing yet. It is meant for a package's variable:
//
//	var ready = testkit.Checkpoint("postgres:16", testkit.Env("POSTGRES_PASSWORD", "x"),
//		testkit.Ready(testkit.Port(5432)), testkit.Prepare("migrations-v7", migrate))
//
// The first [Prepared.Start] looks for the checkpoint of an earlier run, or of another package, in the user's store, and
// makes it where there is none: it starts the container, waits until it is ready, runs the steps of [Prepare], makes the
// checkpoint, and stores it when a first clone has got ready. A checkpoint holds the container's processes, as they run,
// where the machine and the program allow it, and otherwise its files: see [ProcessesRequired] and [FilesOnly].
//
// It is found again by its content: the image's digest, all options that say what the container is made of, the keys of
// steps and the content of files. Options about a running container (the hooks, where its log goes, the time-outs) are not
// a part of that: they are for each clone, and see nothing of the container that is checkpointed.
func Checkpoint(image string, opts ...Option) *Prepared {
	p := &Prepared{image: image, opts: opts, keeper: shared}
	p.pool = newPool(p)
	return p
}

// Start starts a clone and returns when it is ready. It is the test's own: it has its files, processes, network and
// addresses for itself, and is discarded after the test. It fails and skips as the function [Start] does.
//
// Options say what the clone has of its own: [Name], [Hostname], [Label], [Publish] and its kin, limits, hooks, logs,
// time-outs and [MachineClock]. Others contradict the checkpoint.
func (p *Prepared) Start(tb TB, opts ...Option) *Container {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	c, err := p.clone(ctx, tb, opts)
	if err != nil {
		giveUp(tb, err)
		return nil
	}
	return c
}

// New is [Prepared.Start] for TestMain and for programs that are no tests. The caller closes the clone.
//
// Errors: those of the function [New]; those of the [Prepare] steps; CodeCheckpoint with [ProcessesRequired].
func (p *Prepared) New(ctx context.Context, opts ...Option) (*Container, error) {
	return p.clone(ctx, nil, opts)
}

// Snapshot returns what the clones are made from, and makes it where it is missing.
//
// Errors: those of [Prepared.New].
func (p *Prepared) Snapshot(ctx context.Context) (sandbox.Snapshot, error) {
	defer p.pool.use()()
	f, err := p.find(ctx)
	if err != nil {
		return sandbox.Snapshot{}, err
	}
	return f.snapshot, nil
}

// PoolStats tells of the clones of [Pool].
func (p *Prepared) PoolStats() PoolStats { return p.pool.stats() }

// found is a checkpoint that clones can be made from.
type found struct {
	snapshot  sandbox.Snapshot
	settings  *settings
	first     *Container    // the clone that has proven it, if it was made here
	took      time.Duration // to make it; 0 if it was there
	announced atomic.Bool
}

func (f *found) origin() origin { return origin{snapshot: f.snapshot, proven: true, stays: true} }

// clone makes a clone, and the checkpoint where it is missing. One that cannot be used is made again, once.
func (p *Prepared) clone(ctx context.Context, tb TB, opts []Option) (*Container, error) {
	if tb != nil {
		tb.Helper()
	}
	more, err := cloneOptions(opts)
	if err != nil {
		return nil, startFailed(p.image, err)
	}
	defer p.pool.use()()
	for again := false; ; again = true {
		f, err := p.find(ctx)
		if err != nil {
			return nil, err
		}
		f.announce(tb)
		c, err := p.oneOf(ctx, tb, f, more)
		if err == nil {
			return c, nil
		}
		if c != nil && (tb == nil || isUnusable(err)) {
			err = errors.Join(err, c.Close())
		}
		if again || !isUnusable(err) {
			return nil, err
		}
		logf(tb, "testkit: the checkpoint of %s cannot be used and is made again: %v", p.image, err)
		p.drop(ctx, f, err)
	}
}

// oneOf returns a clone of a checkpoint: one that is there already, or another.
func (p *Prepared) oneOf(ctx context.Context, tb TB, f *found, more *settings) (c *Container, err error) {
	if tb != nil {
		tb.Helper()
	}
	if c := p.pool.take(more); c != nil {
		p.pool.announce(tb)
		return c, c.handOver(ctx, tb, more)
	}
	err = p.keeper.do(ctx, func(e engine) error {
		c, err = restore(ctx, e, f.origin(), f.settings, more)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.belongTo(tb)
	return c, c.launchClone(ctx)
}

// handOver gives a clone that is ready to who has asked for one.
func (c *Container) handOver(ctx context.Context, tb TB, more *settings) error {
	c.settings = c.settings.with(more)
	c.pourInto(more.sinks)
	c.belongTo(tb)
	return c.startErrorOf(c.callHooks(ctx, "AfterReady", more.afterReady))
}

// drop forgets a checkpoint that cannot be used, and removes it.
func (p *Prepared) drop(ctx context.Context, f *found, why error) {
	p.mu.Lock()
	current := p.found == f
	if current {
		p.found = nil
	}
	p.mu.Unlock()
	if !current || sandbox.CodeOf(why) == sandbox.CodeNotFound {
		return
	}
	// Where it cannot be removed, as others still use it, the search for it tells.
	_ = p.keeper.do(ctx, func(e engine) error { return e.RemoveSnapshot(ctx, f.snapshot.ID) })
}

// announce says in a test's log, once, which checkpoint is used.
func (f *found) announce(tb TB) {
	if tb == nil || f.announced.Swap(true) {
		return
	}
	tb.Helper()
	made := "made " + f.snapshot.Created.Local().Format(time.DateTime)
	if f.took > 0 {
		made = madeIn(f.took)
	}
	tb.Logf("testkit: checkpoint of %s: %s", f.settings.spec.Image, announcement(f.snapshot, made))
}

func logf(tb TB, format string, args ...any) {
	if tb != nil {
		tb.Helper()
		tb.Logf(format, args...)
	}
}
