package testkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Snapshot is a checkpoint of one container, made in the middle of a test by [Container.Checkpoint]. It is in memory, and
// belongs to the process. Its methods may be called from any goroutine.
type Snapshot struct {
	info     sandbox.Snapshot
	engine   engine
	settings *settings
	close    func() error
}

// Inspect returns what is known of the snapshot: whether it holds processes, and if not, why.
func (s *Snapshot) Inspect() sandbox.Snapshot { return s.info }

// Start starts a clone and returns when it is ready, as [Prepared.Start] does and with the same options.
func (s *Snapshot) Start(tb TB, opts ...Option) *Container {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	c, err := s.clone(ctx, tb, opts)
	if err != nil {
		giveUp(tb, err)
		return nil
	}
	return c
}

// New is [Snapshot.Start] for programs that are no tests. The caller closes the clone.
//
// Errors: those of the function [New]; CodeNotFound after Close.
func (s *Snapshot) New(ctx context.Context, opts ...Option) (*Container, error) {
	return s.clone(ctx, nil, opts)
}

// Close removes the snapshot. Clones of it go on. A snapshot of a test's container is closed after the test. It is
// idempotent.
func (s *Snapshot) Close() error { return s.close() }

func (s *Snapshot) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	err := s.engine.RemoveSnapshot(ctx, s.info.ID)
	switch {
	case hasEnded(s.engine), sandbox.CodeOf(err) == sandbox.CodeNotFound:
		return nil
	case sandbox.CodeOf(err) == sandbox.CodeInUse: // by clones that live longer: it then ends with the process
		return nil
	}
	return err
}

func (s *Snapshot) clone(ctx context.Context, tb TB, opts []Option) (*Container, error) {
	more, err := cloneOptions(opts)
	if err != nil {
		return nil, startFailed(s.settings.spec.Image, err)
	}
	return s.cloneWith(ctx, tb, more)
}

func (s *Snapshot) cloneWith(ctx context.Context, tb TB, more *settings) (*Container, error) {
	c, err := restore(ctx, s.engine, origin{snapshot: s.info, proven: true}, s.settings, more)
	if err != nil {
		return nil, err
	}
	c.belongTo(tb)
	if err = c.launchClone(ctx); err != nil && tb == nil {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Checkpoint makes a checkpoint of the container as it is, which can be cloned any number of times. The container goes on:
// with its processes, or with [Live], as if nothing had happened; with clean files, for which its program has to end, the
// program is started again and Checkpoint returns when that is ready. It holds processes only where the container was
// started with [Checkpointable] or comes from a checkpoint itself. The snapshot is removed after the container's test.
//
// Options say how: [ProcessesRequired], [FilesOnly], [Live], [Quiesce] and [OmitMounts]. Those that the container was
// started with hold too.
//
// What [Container.Exec] runs is not in it, and connections from outside of the container are closed in clones.
//
// Errors: CodeCheckpoint with [ProcessesRequired], naming the process and what of it cannot be checkpointed;
// CodeNotRunning, CodeAlreadyFinished, CodeNoSpace. The container goes on then.
func (c *Container) Checkpoint(ctx context.Context, opts ...Option) (*Snapshot, error) {
	more, err := collectMore("a container's Checkpoint", "give it to the container when it is started", opts, freezing)
	if err != nil {
		return nil, c.wrap("checkpoint", err)
	}
	if c.tb != nil {
		c.tb.Helper()
	}
	return c.snapshot(ctx, c.tb, more)
}

// Fork makes a checkpoint of the container as it is, as [Container.Checkpoint] does, and starts one clone of it. Both go on
// from the same state. It fails the test as [Start] does, and the clone is discarded after the test.
//
// Options are those of [Container.Checkpoint] and of [Prepared.Start].
func (c *Container) Fork(tb TB, opts ...Option) *Container {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	clone, err := c.fork(ctx, tb, opts)
	if err != nil {
		giveUp(tb, err)
		return nil
	}
	return clone
}

func (c *Container) fork(ctx context.Context, tb TB, opts []Option) (*Container, error) {
	if tb != nil {
		tb.Helper()
	}
	more, err := collectMore("a fork", "it is as its original: give it to the container when it is started", opts, freezing, owning, thawing)
	if err != nil {
		return nil, c.wrap("fork", err)
	}
	for _, attach := range more.attach {
		attach()
	}
	s, err := c.snapshot(ctx, tb, more)
	if err != nil {
		return nil, err
	}
	return s.cloneWith(ctx, tb, more)
}

// snapshot makes an ephemeral snapshot of the container, which goes on. After the test, if there is one, the snapshot is
// removed.
func (c *Container) snapshot(ctx context.Context, tb TB, more *settings) (*Snapshot, error) {
	if tb != nil {
		tb.Helper()
	}
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if err := c.use("checkpoint"); err != nil {
		return nil, err
	}
	how := c.settings.checkpoint.with(&more.checkpoint)
	spec := c.checkpointSpec(how)
	spec.LeaveRunning, spec.Ephemeral = true, true
	began := time.Now()
	c.output.newRun() // what a program prints that has to be started again is of that run
	info, err := c.freeze(ctx, spec, how)
	if err != nil {
		return nil, c.wrap("checkpoint", err)
	}
	took := time.Since(began)
	s := &Snapshot{info: info, engine: c.engine, settings: c.settings.asOriginal(how)}
	s.close = sync.OnceValue(s.remove)
	if err := c.goesOn(ctx, info); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if tb != nil {
		tb.Logf("testkit: checkpoint of %s: %s", c, announcement(info, madeIn(took)))
		tb.Cleanup(func() {
			if err := s.Close(); err != nil {
				tb.Logf("testkit: remove the checkpoint of %s: %v", c, err)
			}
		})
	}
	return s, nil
}

// goesOn waits for a program that was started again for a checkpoint of clean files.
func (c *Container) goesOn(ctx context.Context, info sandbox.Snapshot) error {
	if !hasStopped(info) {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.settings.startTimeout, errStartTimeout)
	defer cancel()
	return c.awaitReady(limited)
}

// with returns what more says besides.
func (c *checkpointing) with(more *checkpointing) *checkpointing {
	m := *c
	if more.processes != "" {
		m.processes = more.processes
	}
	if more.quality != "" {
		m.quality = more.quality
	}
	m.quiesce = append(m.quiesce[:len(m.quiesce):len(m.quiesce)], more.quiesce...)
	m.omitMounts = m.omitMounts || more.omitMounts
	return &m
}

// asOriginal are the settings of a container for its clones: its hooks and logs are its own.
func (s *settings) asOriginal(how *checkpointing) *settings {
	o := *s
	o.sinks, o.attach, o.beforeStart, o.afterReady, o.beforeStop, o.stdin = nil, nil, nil, nil, nil, nil
	o.checkpoint = *how
	o.spec.Name = ""
	return &o
}

// checkpointSpec asks for a checkpoint.
func (c *Container) checkpointSpec(how *checkpointing) sandbox.CheckpointSpec {
	return sandbox.CheckpointSpec{
		Processes: how.processes, Quality: how.quality, OmitMounts: how.omitMounts,
		StopTimeout: max(c.settings.stopGrace, time.Millisecond), // 0 would be its default
	}
}

// freeze makes a checkpoint between the functions of Quiesce.
func (c *Container) freeze(ctx context.Context, spec sandbox.CheckpointSpec, how *checkpointing) (s sandbox.Snapshot, err error) {
	for i, q := range how.quiesce {
		if q.before == nil {
			continue
		}
		if err := q.before(ctx, c); err != nil {
			undone := unquiesce(ctx, c, how.quiesce[:i])
			return s, errors.Join(fmt.Errorf("Quiesce before the checkpoint: %w", err), undone)
		}
	}
	s, err = c.box.Checkpoint(ctx, spec)
	if err != nil {
		return s, errors.Join(causeOf(ctx, err), unquiesce(context.WithoutCancel(ctx), c, how.quiesce))
	}
	if !spec.LeaveRunning || hasStopped(s) {
		return s, nil
	}
	return s, unquiesce(ctx, c, how.quiesce)
}

// hasStopped tells whether the program had to end for a snapshot.
func hasStopped(s sandbox.Snapshot) bool {
	return s.Tier != sandbox.TierProcesses && s.Quality != sandbox.QualityLive
}

// afterQuiesce calls the functions that follow a checkpoint in a clone that has its processes.
func (c *Container) afterQuiesce(ctx context.Context) error {
	return unquiesce(ctx, c, c.settings.checkpoint.quiesce)
}

// unquiesce undoes in the opposite order.
func unquiesce(ctx context.Context, c *Container, all []quiesce) error {
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].after == nil {
			continue
		}
		if err := all[i].after(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("Quiesce after the checkpoint: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Reset puts a container that comes from a checkpoint back to it, in place: what runs is killed, changed files are
// discarded, and it is brought back to life as another clone would be. It returns when it is ready again. Its addresses
// stay, [Container.Logs] goes on, and AfterReady hooks are called again.
//
// Errors: CodeInvalid for a container that does not come from a checkpoint; [*StartError].
func (c *Container) Reset(ctx context.Context) error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if err := c.use("reset"); err != nil {
		return err
	}
	if c.origin == nil {
		return sandbox.Errorf(sandbox.CodeInvalid, "reset %s: the container does not come from a checkpoint", c).
			WithRemedy("start it by testkit.Checkpoint and Prepared.Start, or by Container.Fork")
	}
	if err := c.stop(ctx, false); err != nil {
		return err
	}
	c.mu.Lock()
	c.run = newRun()
	c.mu.Unlock()
	return c.bringUp(ctx, c.box.Reset, c.awaitClone)
}
