package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/aside"
	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/sandbox"
)

// record is what the store has of a container that is kept. Whoever has one has the container's lock, and writes alone.
type record struct {
	dir  string
	lock *os.File

	mu    sync.Mutex
	fixed sandbox.RecordFixed
	state sandbox.RecordState
	// complete tells that the fixed part was written: before, there is no container yet.
	complete bool
}

// current returns the state by the record.
func (r *record) current() sandbox.RecordState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// tell adds to a status what the record says.
func (r *record) tell(st *sandbox.Status) {
	s := r.current()
	st.State, st.Started, st.Finished, st.Exit, st.Kept = s.State, s.Started, s.Finished, s.Exit, true
	st.Health, st.Restarts, st.Failure = s.Health, s.Restarts, s.Failure
}

// stateOnRecord is nothing for a container that is not kept.
func (c *container) stateOnRecord() sandbox.RecordState {
	if c.record == nil {
		return sandbox.RecordState{}
	}
	return c.record.current()
}

// change writes another state down. Without a record yet, it is only remembered.
func (r *record) change(f func(*sandbox.RecordState)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.state)
	if !r.complete || r.lock == nil { // there is no container yet, or it is somebody else's by now
		return nil
	}
	return r.writeState()
}

// writeState replaces the file. On a full disk it is written over, for which there is mostly room: better a state that a crash
// may damage than one that is wrong.
func (r *record) writeState() error {
	text, err := json.Marshal(r.state)
	if err != nil {
		return fmt.Errorf("record a container's state: %w", err)
	}
	path := filepath.Join(r.dir, sandbox.StateFile)
	err = replaceFile(path, text, false)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = overwrite(path, text)
	}
	if err != nil {
		return fmt.Errorf("record a container's state: %w", noSpace(err))
	}
	return nil
}

func overwrite(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return errors.Join(err, f.Close())
}

// rewrite changes what seldom changes, and is on the disk when it returns.
func (r *record) rewrite(f func(*sandbox.RecordFixed)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.fixed
	f(&r.fixed)
	if err := r.writeFixed(); err != nil {
		r.fixed = before
		return err
	}
	return nil
}

// save makes the record that there is a container. Its state comes first.
func (r *record) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.writeState(); err != nil {
		return err
	}
	if err := r.writeFixed(); err != nil {
		return err
	}
	r.complete = true
	return nil
}

func (r *record) writeFixed() error {
	text, err := json.Marshal(r.fixed)
	if err == nil {
		err = replaceFile(filepath.Join(r.dir, sandbox.RecordFile), text, true)
	}
	if err != nil {
		return fmt.Errorf("record container: %w", noSpace(err))
	}
	return nil
}

// replaceFile gives a file new contents, all or none. Synced, they also survive a crash of the machine.
func replaceFile(path string, text []byte, synced bool) (err error) {
	draft := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && synced {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	if err := os.Rename(draft, path); err != nil || !synced {
		return err
	}
	return aside.SyncDir(filepath.Dir(path))
}

// close gives the lock up.
func (r *record) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock != nil {
		_ = r.lock.Close()
		r.lock = nil
	}
}

// lockDirectory locks a container's directory for this process. It returns nil if somebody else has it.
//
// Errors: fs.ErrNotExist.
func lockDirectory(dir string) (*os.File, error) {
	path := filepath.Join(dir, sandbox.LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	got, err := filelock.Flock(f, unix.LOCK_EX)
	switch {
	case got:
		return f, nil
	case errors.Is(err, filelock.ErrGone):
		err = fmt.Errorf("lock container: %w", fs.ErrNotExist) // it was removed meanwhile
	}
	return nil, errors.Join(err, f.Close())
}
