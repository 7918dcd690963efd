package testkit

import (
	"context"
	"errors"
	"sync"
)

// background is what goes on besides the tests: checkpoints being made, pools being filled. [Shutdown] ends it.
type background struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
	all    *sync.WaitGroup
}

var errShutdown = errors.New("testkit.Shutdown was called")

// start runs f until it returns. Its context ends with [background.end].
func (b *background) start(f func(ctx context.Context)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = &sync.WaitGroup{}
		b.ctx, b.cancel = context.WithCancelCause(context.Background())
	}
	ctx := b.ctx
	b.all.Go(func() { f(ctx) })
}

// end returns when all that was started has returned. What is started later is not affected.
func (b *background) end() {
	b.mu.Lock()
	all, cancel := b.all, b.cancel
	b.all = nil
	b.mu.Unlock()
	if all == nil {
		return
	}
	cancel(errShutdown)
	all.Wait()
}
