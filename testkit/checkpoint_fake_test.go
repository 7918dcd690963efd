package testkit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// fakeEngine is a keeper whose containers are fakes.
type fakeEngine struct {
	// tier decides what a checkpoint holds.
	tier func(spec sandbox.CheckpointSpec) (sandbox.Snapshot, error)
	// revive fails the start of a clone.
	revive func(s sandbox.Snapshot, nth int) error
	// program is that of the originals, clone that of clones.
	program, clone func(p *fakeProgram)
	health         func(args []string) int
	// fakeBuild builds an image.
	fakeBuild func(spec sandbox.BuildSpec, events func(sandbox.BuildEvent)) (sandbox.ImageInfo, error)

	mu       sync.Mutex
	volumes  map[string]bool // whether they are there
	claims   []sandbox.ClaimSpec
	created  []sandbox.Spec
	restored []sandbox.RestoreSpec
	frozen   []sandbox.CheckpointSpec
	removed  []string
	boxes    []*fakeBox
	store    map[string]*sandbox.Snapshot // by content key
	all      map[string]sandbox.Snapshot  // by id
	locks    map[string]chan struct{}
	starts   int
	ended    chan struct{}
	end      sync.Once
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{
		store: map[string]*sandbox.Snapshot{}, all: map[string]sandbox.Snapshot{}, locks: map[string]chan struct{}{},
		ended: make(chan struct{}), tier: processes, program: (*fakeProgram).run, clone: (*fakeProgram).run,
	}
}

// processes is the tier of programs that can be checkpointed.
func processes(spec sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
	if spec.Processes == sandbox.ProcessesNever {
		return files(spec)
	}
	return sandbox.Snapshot{
		Tier: sandbox.TierProcesses, Quality: sandbox.QualityLive, Size: 3_100_000, Processes: 1,
		Listening: []sandbox.Listener{{Protocol: "tcp", IP: "0.0.0.0", Port: 80}},
	}, nil
}

func files(spec sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
	s := sandbox.Snapshot{Tier: sandbox.TierFiles, Quality: spec.Quality, Fallback: spec.Fallback, Size: 1000}
	if s.Quality == "" {
		s.Quality = sandbox.QualityClean
	}
	if spec.Processes == sandbox.ProcessesAuto {
		s.Fallback = "the program uses io_uring (process 100 mariadbd)"
	}
	return s, nil
}

func (e *fakeEngine) info(ports []sandbox.PortMapping) sandbox.Info {
	n := len(e.boxes)
	info := sandbox.Info{ID: strings.Repeat(fmt.Sprintf("%02x", n), 32), Name: fmt.Sprintf("box%d", n), StopSignal: 15}
	for i, p := range ports {
		p.HostPort = uint16(30000 + 10*n + i)
		info.Ports = append(info.Ports, p)
	}
	return info
}

func (e *fakeEngine) create(_ context.Context, spec sandbox.Spec, _ func(sandbox.Progress)) (box, sandbox.Info, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.created = append(e.created, spec)
	b := &fakeBox{program: e.program, health: e.health}
	b.checkpoint = func(_ *fakeBox, c sandbox.CheckpointSpec) (sandbox.Snapshot, error) { return e.freeze(spec, c) }
	e.boxes = append(e.boxes, b)
	return b, e.info(spec.Publish), nil
}

func (e *fakeEngine) freeze(spec sandbox.Spec, c sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frozen = append(e.frozen, c)
	s, err := e.tier(c)
	if err != nil {
		return s, err
	}
	s.ID, s.Key, s.Spec, s.Created = fmt.Sprintf("%064x", len(e.frozen)), c.Claim, spec, time.Now()
	e.all[s.ID] = s
	return s, nil
}

func (e *fakeEngine) restore(_ context.Context, spec sandbox.RestoreSpec) (box, sandbox.Info, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.all[spec.Snapshot]
	if !ok {
		return nil, sandbox.Info{}, sandbox.Errorf(sandbox.CodeNotFound, "no snapshot %s", spec.Snapshot)
	}
	e.restored = append(e.restored, spec)
	b := &fakeBox{program: e.clone, health: e.health}
	b.start = func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.starts++
		if e.revive == nil {
			return nil
		}
		return e.revive(s, e.starts)
	}
	b.checkpoint = func(_ *fakeBox, c sandbox.CheckpointSpec) (sandbox.Snapshot, error) { return e.freeze(s.Spec, c) }
	e.boxes = append(e.boxes, b)
	ports := spec.Publish
	if ports == nil {
		ports = s.Spec.Publish
	}
	return b, e.info(ports), nil
}

// fakeClaim holds its key's lock until it is committed or abandoned.
type fakeClaim struct {
	e     *fakeEngine
	id    string
	there *sandbox.Snapshot
	once  sync.Once
}

func (e *fakeEngine) claim(ctx context.Context, spec sandbox.ClaimSpec) (claim, error) {
	c := &fakeClaim{e: e, id: strings.Join(spec.Parts, ";")}
	e.mu.Lock()
	e.claims = append(e.claims, spec)
	lock := e.locks[c.id]
	if lock == nil {
		lock = make(chan struct{}, 1)
		e.locks[c.id] = lock
	}
	e.mu.Unlock()
	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	c.there = e.store[c.id]
	e.mu.Unlock()
	if c.there != nil {
		c.release()
	}
	return c, nil
}

func (c *fakeClaim) release()                    { c.once.Do(func() { <-c.e.locks[c.id] }) }
func (c *fakeClaim) key() string                 { return c.id }
func (c *fakeClaim) snapshot() *sandbox.Snapshot { return c.there }

func (c *fakeClaim) Commit(context.Context) (sandbox.Snapshot, error) {
	defer c.release()
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	var last *sandbox.Snapshot
	for _, s := range c.e.all {
		if s.Key == c.id && (last == nil || s.ID > last.ID) {
			last = &s
		}
	}
	if last == nil {
		return sandbox.Snapshot{}, sandbox.Errorf(sandbox.CodeNotFound, "nothing was made")
	}
	c.e.store[c.id] = last
	return *last, nil
}

func (c *fakeClaim) Abandon(context.Context) error {
	c.release()
	return nil
}

func (e *fakeEngine) RemoveSnapshot(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, id)
	for key, s := range e.store {
		if s.ID == id {
			delete(e.store, key)
		}
	}
	delete(e.all, id)
	return nil
}

// Build plays the events of fakeBuild.
func (e *fakeEngine) Build(_ context.Context, spec sandbox.BuildSpec, events func(sandbox.BuildEvent)) (sandbox.ImageInfo, error) {
	return e.fakeBuild(spec, events)
}

func (e *fakeEngine) Ended() <-chan struct{} { return e.ended }

func (e *fakeEngine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.boxes {
		_ = b.Discard(context.Background())
	}
	e.end.Do(func() { close(e.ended) })
	return nil
}

// counts are how many containers were created, frozen and restored.
func (e *fakeEngine) counts() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%d created, %d frozen, %d restored", len(e.created), len(e.frozen), len(e.restored))
}

// alive is how many containers are neither discarded nor closed.
func (e *fakeEngine) alive() int {
	e.mu.Lock()
	boxes := slices.Clone(e.boxes)
	e.mu.Unlock()
	n := 0
	for _, b := range boxes {
		b.mu.Lock()
		if !b.discarded {
			n++
		}
		b.mu.Unlock()
	}
	return n
}

// preparedOn is Checkpoint with an engine of the test's.
func preparedOn(t *testing.T, e *fakeEngine, opts ...Option) *Prepared {
	t.Helper()
	k := newKeeper(func(context.Context) (engine, error) { return e, nil })
	p := Checkpoint("image:1", opts...)
	p.keeper = k
	t.Cleanup(func() {
		if err := k.shutdown(); err != nil {
			t.Error(err)
		}
		if n := e.alive(); n > 0 {
			t.Errorf("%d containers are left", n)
		}
	})
	return p
}

// listens makes a program that listens and runs.
func listens(p *fakeProgram) {
	close(p.listening)
	p.run()
}
