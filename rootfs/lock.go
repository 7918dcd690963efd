package rootfs

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// lockPoll is how often a busy lock is tried. Waiting in the kernel could not be cancelled.
const lockPoll = 10 * time.Millisecond

// lock waits for the lock called name until ctx ends. wait, if not nil, is called once before the first wait.
func (s *Store) lock(ctx context.Context, name string, wait func()) (*filelock.Lock, error) {
	for {
		l, err := s.tryLock(name)
		if err != nil || l != nil {
			return l, err
		}
		if wait != nil {
			wait()
			wait = nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// tryLock returns nil if somebody else has the lock.
func (s *Store) tryLock(name string) (*filelock.Lock, error) {
	file, err := s.create(filepath.Join("locks", name), os.O_RDWR)
	if err != nil {
		return nil, err
	}
	l, err := filelock.Take(file)
	if l != nil {
		step("lock taken")
	}
	return l, err
}
