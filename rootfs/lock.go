package rootfs

import (
	"context"
	"os"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// lock waits for the lock called name until ctx ends. wait, if not nil, is called once before the first wait.
func (s *Store) lock(ctx context.Context, name string, wait func()) (*filelock.Lock, error) {
	return filelock.Wait(ctx, func() (*filelock.Lock, error) {
		l, err := s.tryLock(name)
		if l == nil && err == nil && wait != nil {
			wait()
			wait = nil
		}
		return l, err
	})
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
