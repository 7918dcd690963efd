package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// Hold keeps a snapshot from being removed.
type Hold struct {
	of      *Snapshot
	release func()
}

// maxWait is how long it may take somebody to look whether a snapshot is held.
const maxWait = 5 * time.Second

// Hold keeps the snapshot, with all layers that it refers to, from being removed until Release or the end of the process.
// It counts as a use.
//
// Errors: NotFound if it is removed already.
func (sn *Snapshot) Hold() (*Hold, error) {
	f, err := sn.store.hold(sn.id, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	_ = os.Chtimes(f.Name(), time.Time{}, time.Now()) // it is only about which is evicted first
	return &Hold{of: sn, release: sync.OnceFunc(func() { f.Close() })}, nil
}

// Release ends the hold; nil is none, and a second call does nothing.
func (h *Hold) Release() {
	if h != nil {
		h.release()
	}
}

// hold locks a snapshot, for containers that are made from it or for its removal. Whoever wants to share waits for those who
// only look, and for a removal to come to its end.
//
// Errors: NotFound, InUse.
func (s *Store) hold(id string, how int) (*os.File, error) {
	inUse := fail(InUse, "stop them first", "containers are made from snapshot %s", short(id))
	if how != unix.LOCK_SH {
		f, err := s.tryHold(id, how)
		if f == nil && err == nil {
			err = inUse
		}
		return f, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), maxWait, inUse)
	defer cancel()
	return filelock.Wait(ctx, func() (*os.File, error) { return s.tryHold(id, how) })
}

// tryHold returns nil if somebody else has the snapshot.
func (s *Store) tryHold(id string, how int) (*os.File, error) {
	name := filepath.Join(s.snapshotDir(id), usedName)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, err
	}
	got, err := filelock.Flock(f, how)
	if got {
		return f, nil
	}
	f.Close()
	if errors.Is(err, filelock.ErrGone) {
		return nil, notFound(id)
	}
	return nil, coded(err, "hold snapshot %s", short(id))
}
