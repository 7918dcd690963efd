// Package filelock locks names among processes: a lock is a flock(2) of a file that is there only as long as the lock. The
// kernel drops it with the process, so who gets a lock knows that nobody works on what it stands for, whatever lies
// around.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is held by one goroutine of one process.
type Lock struct{ file *os.File }

// Take locks an open file and takes it over, or closes it and returns nil if somebody else has the lock. The file must
// have been opened or created by the name that is to be locked: lock files are removed when they are unlocked, so what
// was locked counts only if it still has its name. Nil may thus also mean that a lock was just given up; who must know
// tries again.
func Take(file *os.File) (*Lock, error) {
	got, err := Flock(file, unix.LOCK_EX)
	if got {
		return &Lock{file}, nil
	}
	if errors.Is(err, ErrGone) {
		err = nil
	}
	return nil, errors.Join(err, file.Close())
}

// Try is [Take] of the file called path, which is made if missing.
func Try(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return Take(file)
}

// ErrGone tells that a file was locked which others have removed or replaced meanwhile: that is no lock.
var ErrGone = errors.New("it is gone")

// Flock tries to lock an open file or directory that stays when it is unlocked, which closing it does. How is unix.LOCK_SH or
// unix.LOCK_EX. It is false if somebody else has the lock. The file stays open in any case.
//
// Errors: ErrGone if it is not what its name stands for any more.
func Flock(file *os.File, how int) (got bool, err error) {
	err = unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return false, nil
	case err == nil && !hasItsName(file):
		err = ErrGone
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return true, nil
}

// Pauses between two tries of a busy lock.
const (
	firstPause   = time.Millisecond
	longestPause = 20 * time.Millisecond
)

// Wait calls try until it returns a lock or an error; nil and nil mean that somebody else has the lock. Waiting in the kernel
// could not be cancelled.
//
// Errors: those of try; the cause of ctx's end, before which try is called once.
func Wait[L any](ctx context.Context, try func() (*L, error)) (*L, error) {
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		lock, err := try()
		if lock != nil || err != nil {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func hasItsName(file *os.File) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(open, named)
}

// Unlock removes the file and gives the lock up; nil is no lock, and a second call does nothing. A file that cannot be
// removed does no harm.
func (l *Lock) Unlock() {
	if l == nil || l.file == nil {
		return
	}
	_ = os.Remove(l.file.Name()) // before the lock goes, so that nobody else's is removed
	_ = l.file.Close()
	l.file = nil
}
