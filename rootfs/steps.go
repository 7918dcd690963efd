package rootfs

import (
	"context"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// What builds need of the store, see package build.

// IDs is the id mapping that the store was opened with.
func (s *Store) IDs() IDs { return s.ids }

// Lock waits until nobody else, in this process or another, has the lock called name, which begins with "build-". Wait, if not
// nil, is called once before the first wait.
//
// Errors: NoSpace, those of ctx.
func (s *Store) Lock(ctx context.Context, name string, wait func()) (*filelock.Lock, error) {
	lock, err := s.lock(ctx, name, wait)
	return lock, s.full(err)
}
