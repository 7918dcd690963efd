package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/bivouac-run/bivouac/sandbox"
)

// leftOutError is why something cannot be measured here, which ends nothing.
type leftOutError struct{ err error }

func (e *leftOutError) Error() string { return e.err.Error() }
func (e *leftOutError) Unwrap() error { return e.err }

// isLeftOut tells whether an error is that something cannot be measured here.
func isLeftOut(err error) bool {
	var left *leftOutError
	return errors.As(err, &left)
}

// A nursery has a keeper of its own, and brings up clones of a service.
type nursery struct {
	client
	service service
	// processes is sandbox.ProcessesRequired, or ProcessesNever for clones that start their program anew on the files.
	processes sandbox.ProcessPolicy
	snapshot  sandbox.Snapshot
}

func newNursery(l *lab, s service, processes sandbox.ProcessPolicy) *nursery {
	return &nursery{client: client{lab: l}, service: s, processes: processes}
}

// open starts the keeper, with the image in its store.
func (n *nursery) open() error {
	if err := n.lab.fetch(n.service.reference(n.lab)); err != nil {
		if n.service.slow {
			return &leftOutError{err}
		}
		return err
	}
	return n.client.open()
}

// contender is bivouac's, with a snapshot of the service.
func (n *nursery) contender(name string) *contender {
	return &contender{name: name, ours: true, about: n.about, prepare: n.prepare, finish: n.close}
}

// prepare starts the service once and checkpoints it.
func (n *nursery) prepare() (err error) {
	if err := n.open(); err != nil {
		return err
	}
	original, err := n.cold(true)
	if err != nil {
		return err
	}
	n.snapshot, err = n.checkpoint(original, false)
	return errors.Join(err, original.Discard(n.lab.ctx))
}

// checkpoint makes a snapshot of a container that answers.
func (n *nursery) checkpoint(ct *sandbox.Container, leaveRunning bool) (sandbox.Snapshot, error) {
	spec := sandbox.CheckpointSpec{Processes: n.processes, LeaveRunning: leaveRunning}
	if leaveRunning {
		spec.Quality = sandbox.QualityLive // clean files would end the program
	}
	s, err := ct.Checkpoint(n.lab.ctx, spec)
	if sandbox.CodeOf(err) == sandbox.CodeCheckpoint {
		return s, &leftOutError{err}
	}
	return s, err
}

// about says what the snapshot is.
func (n *nursery) about() string {
	return "package sandbox; " + contentOf(n.snapshot)
}

func contentOf(s sandbox.Snapshot) string {
	size := float64(s.Size) / megabyte
	if s.Tier == sandbox.TierFiles {
		return fmt.Sprintf("%s files, %.1f MB", s.Quality, size)
	}
	return fmt.Sprintf("%d processes, %.1f MB, of that %.1f MB memory", s.Processes, size, float64(s.MemorySize)/megabyte)
}

// cold starts the service from its image and returns when it has answered.
func (n *nursery) cold(checkpointable bool) (*sandbox.Container, error) {
	spec := n.service.spec(n.lab)
	spec.Checkpointable = checkpointable
	return n.bring(func(ctx context.Context) (*sandbox.Container, error) { return n.Create(ctx, spec, nil) })
}

// clone returns a clone when it has answered.
func (n *nursery) clone() (*sandbox.Container, error) { return n.cloneOf(n.snapshot) }

func (n *nursery) cloneOf(s sandbox.Snapshot) (*sandbox.Container, error) {
	return n.bring(func(ctx context.Context) (*sandbox.Container, error) {
		return n.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
	})
}

// bring makes a container, starts it and returns when the service has answered. One that fails is discarded.
func (n *nursery) bring(make func(context.Context) (*sandbox.Container, error)) (*sandbox.Container, error) {
	ct, err := make(n.lab.ctx)
	if err != nil {
		return nil, err
	}
	err = ct.Start(n.lab.ctx, sandbox.Streams{Log: true})
	if err == nil {
		err = n.service.awaitAnswer(n.lab, ct)
	}
	if err != nil {
		return nil, errors.Join(err, ct.Discard(n.lab.ctx))
	}
	return ct, nil
}

// discard discards a container, if there is one.
func discard(l *lab, ct *sandbox.Container) error {
	if ct == nil {
		return nil
	}
	return ct.Discard(l.ctx)
}
