// Package filelock locks names among processes: a lock is a flock(2) of a file that is there only as long as the lock. The
// kernel drops it with the process, so who gets a lock knows that nobody works on what it stands for, whatever lies
// around.
package filelock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock is held by one goroutine of one process.
type Lock struct{ file *os.File }

// Take locks an open file and takes it over, or closes it and returns nil if somebody else has the lock. The file must
// have been opened or created by the name that is to be locked: lock files are removed when they are unlocked, so what
// was locked counts only if it still has its name. Nil may thus also mean that a lock was just given up; who must know
// tries again.
func Take(file *os.File) (*Lock, error) {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && HasItsName(file) {
		return &Lock{file}, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return nil, nil
}

// Try is [Take] of the file called path, which is made if missing.
func Try(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return Take(file)
}

// HasItsName tells whether an open file is still what its name stands for: who locks what others remove looks afterwards.
func HasItsName(file *os.File) bool {
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
