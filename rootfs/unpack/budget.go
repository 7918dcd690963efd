package unpack

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
)

// headerSize is what an entry costs in a Budget beyond its content.
const headerSize = 512

// Budget is a number of bytes that layers unpacked in parallel share. The tar
// streams count as they are, headers and padding included, so that the number
// of entries is bounded too; a directory that is only implied counts as one
// header, a sparse file also with its full size.
type Budget struct {
	limit int64
	left  atomic.Int64
}

// NewBudget returns a budget of limit bytes; nil, which has no limit, for 0.
func NewBudget(limit int64) *Budget {
	if limit <= 0 {
		return nil
	}
	b := &Budget{limit: limit}
	b.left.Store(limit)
	return b
}

func (b *Budget) take(n int64) error {
	if b != nil && b.left.Add(-n) < 0 {
		return b.exceeded()
	}
	return nil
}

// fits tells early that n bytes will not be there.
func (b *Budget) fits(n int64) error {
	if b != nil && n > b.left.Load()+copySize { // what is buffered was taken already
		return b.exceeded()
	}
	return nil
}

func (b *Budget) exceeded() error {
	return fmt.Errorf("%w: more than %d bytes, raise --max-unpacked-size if you trust it", ErrTooLarge, b.limit)
}

// meter takes every byte read from the budget, and ends with the context.
type meter struct {
	ctx    context.Context
	r      io.Reader
	budget *Budget
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	if e := m.budget.take(int64(n)); e != nil {
		return n, e
	}
	return n, err
}
