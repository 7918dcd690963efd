package testkit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// PoolStats tells of the clones that [Pool] keeps ready.
type PoolStats struct {
	// Size is how many are wanted, Ready how many there are.
	Size, Ready int
	// Memory is what the processes of the ready ones had when they got ready: the sum of their PSS, in bytes.
	Memory int64
	// Made is how many were made ahead, and MakingTime how long that has taken together.
	Made       int
	MakingTime time.Duration
	// Taken is how many tests got a clone that was ready, Missed how many had to wait for one of their own.
	Taken, Missed int
	// Err is why the last attempt to make one has failed, nil if it has not. The next test has it tried again.
	Err error
}

// String returns all of it on one line.
func (s PoolStats) String() string {
	text := fmt.Sprintf("%d of %d clones ready (%s of memory), %d made ahead", s.Ready, s.Size, sizeText(s.Memory), s.Made)
	if s.Made > 0 {
		text += fmt.Sprintf(" in %v each", (s.MakingTime / time.Duration(s.Made)).Round(time.Millisecond/10))
	}
	text += fmt.Sprintf(", %d taken, %d missed", s.Taken, s.Missed)
	if s.Err != nil {
		text += fmt.Sprintf(", the last could not be made: %v", s.Err)
	}
	return text
}

// pool has the clones that are ready before somebody asks for them. One without a size has at most the clone that has
// proven the checkpoint, until the tests that waited for it are served.
type pool struct {
	p    *Prepared
	wake chan struct{}

	mu        sync.Mutex
	ready     []pooled
	users     int  // tests that are being served
	filling   bool // there is a goroutine for it
	announced bool
	PoolStats
}

type pooled struct {
	c      *Container
	memory int64
}

func newPool(p *Prepared) *pool { return &pool{p: p, wake: make(chan struct{}, 1)} }

func (p *pool) resize(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Size = n
}

func (p *pool) stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.PoolStats
	s.Ready, s.Memory = len(p.ready), 0
	for _, r := range p.ready {
		s.Memory += r.memory
	}
	return s
}

// use tells that a test is being served, which comes before filling the pool. The result tells that it was.
func (p *pool) use() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users++
	return p.used
}

func (p *pool) used() {
	p.mu.Lock()
	p.users--
	var left []pooled
	if p.users == 0 && p.Size == 0 {
		left, p.ready = p.ready, nil
	}
	if p.users == 0 && p.Size > 0 && !p.filling {
		p.filling = true
		p.p.keeper.background.start(p.fill)
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	for _, l := range left {
		_ = l.c.Close() // it also ends with the process
	}
}

// put adds a clone that is ready, if there is one.
func (p *pool) put(c *Container) {
	if c != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ready = append(p.ready, pooled{c: c})
	}
}

// take returns a clone that is ready, or nil where there is none that can be as more says.
func (p *pool) take(more *settings) *Container {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) > 0 && more.laterIsEnough() {
		c := p.ready[0].c
		p.ready = slices.Delete(p.ready, 0, 1)
		if c.current().isRunning() && !hasEnded(c.engine) { // the end of a keeper is known before that of its clones
			p.Taken++
			return c
		}
		_ = c.Close() // it has ended, perhaps with its keeper
	}
	p.Missed++
	return nil
}

// laterIsEnough tells whether all that the settings say can be had of a clone that runs already.
func (s *settings) laterIsEnough() bool {
	return len(saidOfSpec(&s.spec)) == 0 && len(s.beforeStart) == 0 && !s.checkpoint.machineClock
}

// announce says once, in a test's log, what the pool costs.
func (p *pool) announce(tb TB) {
	p.mu.Lock()
	first := tb != nil && p.Made > 0 && !p.announced
	p.announced = p.announced || first
	p.mu.Unlock()
	if first {
		tb.Helper()
		tb.Logf("testkit: pool of %s: %v", p.p.image, p.stats())
	}
}

// fill makes clones while no test is being served, until Shutdown.
func (p *pool) fill(ctx context.Context) {
	defer p.empty()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for p.wants() && ctx.Err() == nil {
			if !p.add(ctx) {
				break
			}
		}
	}
}

func (p *pool) wants() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users == 0 && len(p.ready) < p.Size
}

// add makes one more clone and tells whether that worked.
func (p *pool) add(ctx context.Context) bool {
	began := time.Now()
	c, err := p.p.spare(ctx)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.Err = err
		return false
	}
	stats, _ := c.Stats(ctx) // without them the memory is not known
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, pooled{c, stats.PSS})
	p.Made++
	p.MakingTime += time.Since(began)
	p.Err = nil
	return true
}

// spare makes a clone for nobody in particular, of a checkpoint that is there.
func (p *Prepared) spare(ctx context.Context) (*Container, error) {
	p.mu.Lock()
	f := p.found
	p.mu.Unlock()
	if f == nil {
		return nil, fmt.Errorf("there is no checkpoint of %s", p.image)
	}
	var c *Container
	err := p.keeper.do(ctx, func(e engine) (err error) {
		c, err = restore(ctx, e, f.origin(), f.settings, nothingMore())
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.launchClone(ctx); err != nil {
		_ = c.Close() // why it failed says more
		return nil, err
	}
	return c, nil
}

// empty ends the clones that nobody has taken.
func (p *pool) empty() {
	p.mu.Lock()
	ready := p.ready
	p.ready, p.filling = nil, false
	p.mu.Unlock()
	for _, r := range ready {
		_ = r.c.Close() // it also ends with the keeper
	}
}
