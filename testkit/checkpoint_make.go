package testkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// maker makes a checkpoint for which it has the claim, while everybody else who wants it waits.
type maker struct {
	engine   engine
	claim    claim
	settings *settings
	doing    func(what string) // is told what is done, for those who give up waiting
}

// findOrMake returns the checkpoint of a content key, and makes it where there is none.
func findOrMake(ctx context.Context, e engine, s *settings, doing func(what string)) (*found, error) {
	spec, err := s.claimSpec()
	if err != nil {
		return nil, err
	}
	doing("wait for the image, or for others who make the checkpoint")
	claim, err := e.claim(ctx, spec)
	if err != nil {
		return nil, err
	}
	f := &found{settings: s}
	if there := claim.snapshot(); there != nil {
		f.snapshot = *there
	} else {
		m := &maker{engine: e, claim: claim, settings: s, doing: doing}
		if err := m.make(ctx, f); err != nil {
			return nil, err
		}
	}
	f.snapshot.Fallback = cmp.Or(f.snapshot.Fallback, s.checkpoint.excluded)
	if f.first != nil {
		f.first.origin.snapshot = f.snapshot // as it was stored
	}
	return f, nil
}

// make makes the checkpoint. It is kept once a clone of it has got ready.
func (m *maker) make(ctx context.Context, f *found) (err error) {
	began := time.Now()
	kept := false
	defer func() {
		if !kept { // also where a step has ended this goroutine
			err = errors.Join(err, m.abandon(f.first))
		}
	}()
	original, err := m.original(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, original.Close()) }()
	if err := m.prepare(ctx, original); err != nil {
		return err
	}
	if f.first, err = m.freeze(ctx, original); err != nil {
		return err
	}
	if f.snapshot, err = m.claim.Commit(ctx); err != nil {
		return err
	}
	f.took = time.Since(began)
	kept = true
	return nil
}

// abandon leaves the making to whoever wants the checkpoint next.
func (m *maker) abandon(first *Container) error {
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	var err error
	if first != nil {
		err = first.Close()
	}
	if gone := m.claim.Abandon(ctx); !hasEnded(m.engine) {
		err = errors.Join(err, gone)
	}
	return err
}

// original starts the container that is checkpointed. Hooks and logs are for its clones.
func (m *maker) original(ctx context.Context) (*Container, error) {
	m.doing("start the container")
	s := *m.settings
	s.sinks, s.beforeStart, s.afterReady, s.beforeStop = nil, nil, nil, nil
	c, err := createWatched(ctx, m.engine, &s)
	if err != nil {
		return nil, err
	}
	if err := c.launch(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (m *maker) prepare(ctx context.Context, original *Container) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := original.Context()
	defer context.AfterFunc(alive, func() { cancel(context.Cause(alive)) })()
	for _, step := range m.settings.checkpoint.steps {
		m.doing(fmt.Sprintf("Prepare(%q)", step.key))
		err := step.do(ctx, original)
		if ended := context.Cause(alive); ended != nil && !errors.Is(err, ended) {
			err = errors.Join(err, ended)
		}
		if err != nil {
			return original.startError(fmt.Errorf("Prepare(%q): %w", step.key, err))
		}
	}
	return nil
}

// freeze checkpoints the original and makes the first clone. Where the processes of a clone do not get ready, and nobody
// has said that they must, it makes another checkpoint of files alone.
func (m *maker) freeze(ctx context.Context, original *Container) (*Container, error) {
	policy := m.settings.checkpoint.processes
	snapshot, first, err := m.try(ctx, original, policy, "")
	failed := snapshot.Tier == sandbox.TierProcesses || sandbox.CodeOf(err) == sandbox.CodeCheckpoint
	if err == nil || policy != sandbox.ProcessesAuto || !failed || ctx.Err() != nil {
		return first, err
	}
	why := err
	if _, first, err = m.try(ctx, original, sandbox.ProcessesNever, why.Error()); err != nil {
		return nil, errors.Join(why, err)
	}
	return first, nil
}

// try makes a checkpoint and its first clone. The original goes on where it may be wanted once more.
func (m *maker) try(ctx context.Context, original *Container, policy sandbox.ProcessPolicy, fallback string) (sandbox.Snapshot, *Container, error) {
	spec := original.checkpointSpec(&m.settings.checkpoint)
	spec.Claim, spec.Processes, spec.Fallback = m.claim.key(), policy, fallback
	spec.LeaveRunning = policy == sandbox.ProcessesAuto
	m.doing("make the checkpoint")
	snapshot, err := original.freeze(ctx, spec, &m.settings.checkpoint)
	if err != nil {
		return snapshot, nil, err
	}
	m.doing("start the first clone")
	first, err := restore(ctx, m.engine, origin{snapshot: snapshot, stays: true}, m.settings, nothingMore())
	if err != nil {
		return snapshot, nil, err
	}
	if err := first.launchClone(ctx); err != nil {
		return snapshot, nil, errors.Join(fmt.Errorf("the first clone of the checkpoint: %w", err), first.Close())
	}
	first.origin.proven = true
	return snapshot, first, nil
}

func nothingMore() *settings { return &settings{startTimeout: unset, stopGrace: unset} }
