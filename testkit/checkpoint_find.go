package testkit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/bivouac-run/bivouac/sandbox"
)

// flight is a search for a checkpoint, or the making of it, for all tests that wait for it. It belongs to none of them: it
// is given up when the last one has.
type flight struct {
	done    chan struct{} // closed when found and err are there
	found   *found
	err     error
	waiting int          // the lock is the Prepared's
	doing   atomic.Value // what is being done, a string
	cancel  context.CancelCauseFunc
}

var (
	errNobodyWaits = errors.New("no test waits for it any more")
	errEndedOddly  = errors.New("a Prepare step or hook has ended its goroutine, as FailNow, Fatal and Skip of a test do: " +
		"let it return an error instead")
)

// find returns the checkpoint, once there is one.
func (p *Prepared) find(ctx context.Context) (*found, error) {
	p.mu.Lock()
	if p.found != nil {
		defer p.mu.Unlock()
		return p.found, nil
	}
	if p.flight == nil {
		p.flight = p.takeOff()
	}
	f := p.flight
	f.waiting++
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.found, f.err
	case <-ctx.Done():
		p.leave(f)
		return nil, fmt.Errorf("checkpoint %s: %s: %w", p.image, f.doing.Load(), context.Cause(ctx))
	}
}

// leave counts one out who has waited. The next one who asks starts another search.
func (p *Prepared) leave(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return
	}
	f.cancel(errNobodyWaits)
	if p.flight == f {
		p.flight = nil
	}
}

func (p *Prepared) takeOff() *flight {
	ctx, cancel := context.WithCancelCause(context.Background())
	f := &flight{done: make(chan struct{}), cancel: cancel, err: fmt.Errorf("checkpoint %s: %w", p.image, errEndedOddly)}
	f.doing.Store("start the keeper")
	p.keeper.background.start(func(shutdown context.Context) {
		defer context.AfterFunc(shutdown, func() { cancel(context.Cause(shutdown)) })()
		defer p.land(f)
		f.found, f.err = p.findOrMake(ctx, func(what string) { f.doing.Store(what) })
	})
	return f
}

// land ends a search. A failure is not kept: the next one who asks starts another.
func (p *Prepared) land(f *flight) {
	f.cancel(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flight == f {
		p.flight = nil
	}
	if f.err == nil {
		p.found = f.found
		p.pool.put(f.found.first)
	}
	close(f.done)
}

func (p *Prepared) findOrMake(ctx context.Context, doing func(what string)) (*found, error) {
	s, err := p.settings()
	if err != nil {
		return nil, startFailed(p.image, err)
	}
	var f *found
	err = p.keeper.do(ctx, func(e engine) (err error) {
		f, err = findOrMake(ctx, e, s, doing)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", p.image, err)
	}
	return f, nil
}

// settings returns what the options say.
func (p *Prepared) settings() (*settings, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base != nil {
		return p.base, nil
	}
	s, err := collectFor(p.image, p.opts, (*settings).checkPrepared)
	if err != nil {
		return nil, err
	}
	if s.checkpoint.processes == sandbox.ProcessesAuto && s.unfreezable() != "" {
		s.checkpoint.excluded, s.checkpoint.processes = s.unfreezable(), sandbox.ProcessesNever
	}
	s.spec.Checkpointable = s.checkpoint.processes != sandbox.ProcessesNever
	p.base = s
	p.pool.resize(s.checkpoint.pool)
	return s, nil
}

// checkPrepared finds options that clones cannot have in common.
func (s *settings) checkPrepared() {
	refuse := func(given bool, option, why string) {
		if given {
			s.problems = append(s.problems, sandbox.Errorf(sandbox.CodeInvalid, "%s cannot be given to Checkpoint: %s", option, why))
		}
	}
	refuse(s.spec.Name != "", "Name", "no two clones can have the same; give it to Start")
	refuse(s.stdin != nil, "Stdin", "it could be read only once")
	for _, p := range s.spec.Publish {
		refuse(p.HostPort != 0, fmt.Sprintf("PublishAs(%d:%d)", p.HostPort, p.Port), "no two clones can have the same port of the host; give it to Start")
	}
	for _, strategy := range s.strategies {
		refuse(strategy != nil && traitsOf(strategy).ends, fmt.Sprintf("Ready(%v)", strategy), "the program has to run when it is checkpointed")
	}
	if s.checkpoint.processes == sandbox.ProcessesRequired {
		s.checkCheckpointable("ProcessesRequired")
	}
}
