package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// chainLength is how many snapshots lie above each other, each of a clone of the one below, before a soak starts the
// service anew.
const chainLength = 5

// soak checkpoints and restores each service many times over, in one keeper, and looks for what that leaves.
//
// Errors: a round failed, or something was left.
func (l *lab) soak(c config) error {
	k := &client{lab: l}
	if err := k.open(); err != nil {
		return err
	}
	var all []error
	for _, s := range c.services() {
		if len(c.only) > 0 && !slices.Contains(c.only, s.name) {
			continue
		}
		all = append(all, soakService(k, s, c.soak))
	}
	return errors.Join(append(all, k.close())...)
}

// soakService prints what has come out. What a first, short soak leaves does not count: it is there once.
func soakService(k *client, s service, rounds int) error {
	if err := k.lab.fetch(s.reference(k.lab)); err != nil {
		return err
	}
	newBath(k, s).run(2 * chainLength)
	before, err := k.traces()
	if err != nil {
		return err
	}
	b := newBath(k, s)
	begin := time.Now()
	b.run(rounds)
	took := time.Since(begin)
	after, err := k.traces()
	if err != nil {
		return err
	}
	fmt.Printf("\nsoak of %s: %d rounds in %.0f s, %s; %d failures\n", s.image, rounds, took.Seconds(), b.tiers(), len(b.failures))
	for _, f := range b.failures {
		fmt.Println("  failed:", strings.ReplaceAll(f.Error(), "\n", "; "))
	}
	before.print(os.Stdout, after)
	if leaks := before.leaks(after); len(b.failures) > 0 || len(leaks) > 0 {
		return fmt.Errorf("soak of %s: %d failures; left: %s", s.image, len(b.failures), strings.Join(leaks, ", "))
	}
	return nil
}

// A bath is the soak of one service.
type bath struct {
	nursery
	now   *sandbox.Container
	chain []sandbox.Snapshot // each of a clone of the one before

	processes, files int    // rounds by the tier of their snapshot
	fallback         string // why it was files, the last time
	failures         []error
}

func newBath(k *client, s service) *bath {
	return &bath{nursery: nursery{client: *k, service: s, processes: sandbox.ProcessesAuto}}
}

func (b *bath) run(rounds int) {
	for round := range rounds {
		err := b.round()
		if err != nil {
			err = fmt.Errorf("round %d, %d in the chain: %w", round, len(b.chain), err)
		}
		if err != nil || len(b.chain) == chainLength {
			err = errors.Join(err, b.drain())
		}
		b.fail(err)
	}
	b.fail(b.drain())
}

func (b *bath) fail(err error) {
	if err != nil {
		b.failures = append(b.failures, err)
	}
}

// round checkpoints what runs, which ends with that, and restores it.
func (b *bath) round() (err error) {
	if b.now == nil {
		if b.now, err = b.cold(true); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	s, err := b.checkpoint(b.now, false)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	b.note(s)
	if err := b.end(); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	if b.now, err = b.cloneOf(s); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func (b *bath) note(s sandbox.Snapshot) {
	b.chain = append(b.chain, s)
	if s.Tier == sandbox.TierProcesses {
		b.processes++
		return
	}
	b.files++
	b.fallback = s.Fallback
}

func (b *bath) end() error {
	ct := b.now
	b.now = nil
	return discard(b.lab, ct)
}

// drain removes everything, the snapshots from the top.
func (b *bath) drain() error {
	err := b.end()
	for i := len(b.chain) - 1; i >= 0; i-- {
		err = errors.Join(err, b.RemoveSnapshot(b.lab.ctx, b.chain[i].ID))
	}
	b.chain = nil
	return err
}

// tiers says what the snapshots were. To fall back from processes is no failure by itself: of some services, and for some
// users, there are only files.
func (b *bath) tiers() string {
	text := fmt.Sprintf("%d with processes, %d of files", b.processes, b.files)
	if b.fallback != "" {
		text += " (" + b.fallback + ")"
	}
	return text
}
