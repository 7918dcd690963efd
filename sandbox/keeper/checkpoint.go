package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
)

// checkpointing is one checkpoint under way.
type checkpointing struct {
	c     *container
	spec  *sandbox.CheckpointSpec
	p     *program // nil or ended where only files are left
	draft *snapshot.Draft
	mine  sandbox.Snapshot // what will be said of it
	tree  *frozenTree
	trees []snapshot.Tree
}

// checkpoint makes a snapshot of the container.
func (c *container) checkpoint(ctx context.Context, r sandbox.CheckpointRequest) (any, error) {
	c.starting.Lock() // no start, no discard, no other checkpoint, which may pause it
	defer c.starting.Unlock()
	if err := cmp.Or(c.mayCheckpoint(&r.Spec), c.k.mayKeep(&r.Spec)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)() // whoever discards the container need not wait for it
	k, err := c.newCheckpoint(ctx, &r.Spec)
	if err != nil {
		return nil, fmt.Errorf("checkpoint container %s: %w", c.displayName(), err)
	}
	kept, err := k.makeAndKeep(ctx)
	switch {
	case err != nil && c.isDiscarding():
		return nil, c.gone("checkpoint")
	case err != nil:
		return nil, err
	case !r.Spec.LeaveRunning && k.p != nil:
		k.p.kill()
	}
	return kept, nil
}

// makeAndKeep leaves nothing behind where it fails.
func (k *checkpointing) makeAndKeep(ctx context.Context) (kept sandbox.Snapshot, err error) {
	defer func() {
		if err != nil {
			_ = k.draft.Discard()
		}
	}()
	sn, err := k.make(ctx)
	if err != nil {
		return kept, err
	}
	return k.c.k.keepSnapshot(k.spec, k.draft, sn)
}

// mayCheckpoint refuses what contradicts itself.
func (c *container) mayCheckpoint(spec *sandbox.CheckpointSpec) error {
	refuse := func(format string, args ...any) error {
		return sandbox.Errorf(sandbox.CodeInvalid, "checkpoint container "+c.displayName()+": "+format, args...)
	}
	switch {
	case c.image.Host:
		return sandbox.Errorf(sandbox.CodeUnsupported, "checkpoint container %s: the files below it are the machine's own, which change", c.displayName()).
			WithRemedy("use an image")
	case spec.Quality != "" && spec.Quality != sandbox.QualityClean && spec.Quality != sandbox.QualityLive:
		return refuse("no quality is called %q", spec.Quality)
	case spec.Processes != sandbox.ProcessesAuto && spec.Processes != sandbox.ProcessesRequired && spec.Processes != sandbox.ProcessesNever:
		return refuse("no policy for processes is called %q", spec.Processes)
	case spec.Name != "" && !validName(spec.Name):
		return refuse("%q is not a valid name", spec.Name)
	case spec.Ephemeral && (spec.Name != "" || spec.Claim != ""):
		return refuse("an ephemeral snapshot has no name and no key")
	case c.paused.Load():
		return refuse("it is paused")
	}
	return nil
}

func (c *container) newCheckpoint(ctx context.Context, spec *sandbox.CheckpointSpec) (*checkpointing, error) {
	c.mu.Lock()
	p, discarding := c.last, c.discarding
	c.mu.Unlock()
	if discarding {
		return nil, c.gone("checkpoint")
	}
	if p != nil && p.hasEnded() {
		p = nil
	}
	var parent *snapshot.Snapshot
	if c.source != nil {
		parent = c.source.snap
	}
	draft, err := c.k.storeFor(spec).Draft(ctx, parent)
	if err != nil {
		return nil, err
	}
	k := &checkpointing{c: c, spec: spec, p: p, draft: draft}
	k.mine = sandbox.Snapshot{ID: draft.ID(), Name: spec.Name, Key: spec.Claim, Image: imageInfo(c.image), Spec: *c.spec, Ephemeral: spec.Ephemeral, Fallback: spec.Fallback}
	return k, nil
}

// make fills the draft: with processes where they are wanted and can be had, otherwise with files.
func (k *checkpointing) make(ctx context.Context) (*snapshot.Snapshot, error) {
	if k.spec.Processes != sandbox.ProcessesNever {
		sn, err := k.withProcesses(ctx)
		if err == nil || k.spec.Processes == sandbox.ProcessesRequired || !isFallback(ctx, err) {
			return sn, err
		}
		k.mine.Fallback = strings.TrimPrefix(err.Error(), checkpointError("").Message)
		if err := k.restartDraft(ctx); err != nil {
			return nil, err
		}
	}
	return k.withFiles(ctx)
}

// isFallback tells whether files alone may yet be had.
func isFallback(ctx context.Context, err error) bool {
	return ctx.Err() == nil && sandbox.CodeOf(err) == sandbox.CodeCheckpoint && !errors.Is(err, syscall.ENOSPC)
}

// restartDraft takes back what was made for processes.
func (k *checkpointing) restartDraft(ctx context.Context) error {
	fallback := k.mine.Fallback
	if err := k.draft.Discard(); err != nil {
		return err
	}
	again, err := k.c.newCheckpoint(ctx, k.spec)
	if err != nil {
		return err
	}
	*k = *again
	k.mine.Fallback = fallback
	return nil
}

// withProcesses freezes the tree of processes for a moment. It is tried once as a clone before it counts.
func (k *checkpointing) withProcesses(ctx context.Context) (*snapshot.Snapshot, error) {
	if err := k.obstacle(); err != nil {
		return nil, err
	}
	k.mine.Tier, k.mine.Quality = sandbox.TierProcesses, sandbox.QualityLive
	k.c.pausing.Lock()
	err := k.dump(ctx)
	k.c.pausing.Unlock()
	if err != nil {
		return nil, err
	}
	sn, err := k.finish()
	if err != nil {
		return nil, err
	}
	if err := k.c.k.try(ctx, sn, k.c.image); err != nil {
		return nil, err
	}
	return sn, nil
}

// finish seals the draft.
func (k *checkpointing) finish() (*snapshot.Snapshot, error) {
	d := detail{Version: detailVersion, Single: k.c.k.single(), Snapshot: k.mine, Tree: k.tree}
	if k.c.k.single() {
		d.Emulation = k.c.emulation.Save()
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("describe snapshot: %w", err)
	}
	m := snapshot.Meta{Name: k.spec.Name, Key: k.spec.Claim, Trees: k.trees, Detail: text}
	if k.tree != nil {
		here, err := k.c.k.machine()
		if err != nil {
			return nil, err
		}
		m.Kernel, m.CPU, m.CRIU = here.kernel, here.cpu, here.criu
	}
	return k.draft.Finish(m)
}

// describe is what clients see of a snapshot.
func describe(sn *snapshot.Snapshot) (sandbox.Snapshot, error) {
	m := sn.Meta()
	d, err := readDetail(m)
	if err != nil {
		return sandbox.Snapshot{ID: m.ID, Name: m.Name, Key: m.Key, Created: m.Created, Used: sn.Used(), Size: m.Size}, err
	}
	s := d.Snapshot
	s.ID, s.Name, s.Key, s.Created, s.Used, s.Size, s.MemorySize = m.ID, m.Name, m.Key, m.Created, sn.Used(), m.Size, m.MemorySize
	s.Kernel, s.CPU, s.CRIU = m.Kernel, m.CPU, m.CRIU
	return s, nil
}
