package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lock is held by one goroutine of one process: a flock(2) of its own open file, which the kernel drops with the
// process. So who gets the lock knows that nobody works on what it stands for, whatever lies around.
type lock struct{ file *os.File }

// lockPoll is how often a busy lock is tried. Waiting in the kernel could not be cancelled.
const lockPoll = 10 * time.Millisecond

// lock waits for the lock called name until ctx ends. wait, if not nil, is called once before the first wait.
func (s *Store) lock(ctx context.Context, name string, wait func()) (*lock, error) {
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

// tryLock returns nil if somebody else has the lock. Lock files are removed when they are unlocked, so what was locked
// counts only if it still has its name.
func (s *Store) tryLock(name string) (*lock, error) {
	file, err := s.create(filepath.Join("locks", name), os.O_RDWR)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && sameFile(file) {
		step("lock taken")
		return &lock{file}, nil
	}
	err = errors.Join(ignore(err, unix.EWOULDBLOCK), file.Close())
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return nil, nil
}

// ignore returns nil for one expected error.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func sameFile(file *os.File) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(open, named)
}

// unlock is for defer: a lock file that cannot be removed does no harm, and closing it unlocks.
func (l *lock) unlock() {
	_ = os.Remove(l.file.Name())
	_ = l.file.Close()
}
