package main

import (
	"errors"

	"github.com/bivouac-run/bivouac/sandbox"
)

// checkpointContests measure a checkpoint itself, of a service that goes on: the processes' images, the files, the clone
// that is tried, and the store.
func checkpointContests(l *lab, c config) (all []contest) {
	for _, s := range c.services() {
		all = append(all, contest{
			name: "checkpoint-" + s.name, title: "checkpoint: a snapshot of " + s.image + ", which goes on", unit: "ms", meter: clock,
			warmups: 1, rounds: c.most(),
			contenders: []*contender{
				checkpointer(l, s, nameBivouac, sandbox.ProcessesRequired),
				checkpointer(l, s, nameBivouac+", files", sandbox.ProcessesNever),
			},
		})
	}
	return all
}

func checkpointer(l *lab, s service, name string, processes sandbox.ProcessPolicy) *contender {
	n := newNursery(l, s, processes)
	c := n.contender(name)
	var original *sandbox.Container
	take := func() (err error) {
		n.snapshot, err = n.checkpoint(original, true)
		return err
	}
	remove := func() error {
		if n.snapshot.ID == "" {
			return nil
		}
		id := n.snapshot.ID
		n.snapshot.ID = "" // about wants the rest of it
		return n.RemoveSnapshot(l.ctx, id)
	}
	c.prepare = func() (err error) {
		if err := n.open(); err != nil {
			return err
		}
		if original, err = n.cold(true); err != nil {
			return err
		}
		return errors.Join(take(), remove())
	}
	c.work = take
	c.release = remove
	return c
}
