package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// records reads the records of one store.
type records struct {
	dir     string
	sockets map[string]*os.File // open directories of sockets, nil for those that are not there
	names   map[string]string   // of damaged records, by id; nil until it is needed
}

func (r *records) close() {
	for _, f := range r.sockets {
		if f != nil {
			_ = f.Close()
		}
	}
}

// maxRecord bounds what is read of a record, whose texts may come from a foreign image.
const maxRecord = 16 << 20

// read returns false for what is no container.
func (r *records) read(id string) (Record, bool) {
	var fixed RecordFixed
	err := readJSON(filepath.Join(r.dir, id, RecordFile), &fixed)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Record{}, false
	case err == nil && (fixed.Version != RecordVersion || fixed.Info.ID != id):
		err = fmt.Errorf("it is of version %d", fixed.Version)
	}
	if err != nil {
		return r.damaged(id, err), true
	}
	state, at := r.state(id)
	return NewRecord(fixed, r.checked(id, state, at)), true
}

// NewRecord puts a record's parts together.
func NewRecord(fixed RecordFixed, state RecordState) Record {
	info := fixed.Info
	info.Ports = state.Ports
	return Record{
		Status: Status{
			Info: info, State: state.State, Created: fixed.Created, Started: state.Started, Finished: state.Finished, Exit: state.Exit,
			Kept: true, Health: state.Health, Restarts: state.Restarts, Failure: state.Failure, Volumes: fixed.Volumes,
		},
		Spec: fixed.Spec, IDMap: fixed.IDMap, Layers: fixed.Layers,
	}
}

// state returns the state by the record, and when that was written.
func (r *records) state(id string) (s RecordState, at time.Time) {
	s, at, err := ReadState(filepath.Join(r.dir, id))
	if err != nil {
		s.Lost(fmt.Sprintf("what has become of its program is not on record: %v", err), at)
	}
	return s, at
}

// ReadState reads a container's [StateFile], and when that was written.
func ReadState(dir string) (s RecordState, at time.Time, err error) {
	path := filepath.Join(dir, StateFile)
	if st, err := os.Lstat(path); err == nil {
		at = st.ModTime()
	}
	if err = readJSON(path, &s); err == nil && s.State == "" {
		err = errors.New("it is empty")
	}
	return s, at, err
}

// checked is the state that the record's is in truth.
func (r *records) checked(id string, s RecordState, at time.Time) RecordState {
	if !s.State.Running() || r.answers(id, s.Sockets) {
		return s
	}
	again, at2 := r.state(id) // a keeper writes down the end before it leaves
	if !again.State.Running() || at2 != at && r.answers(id, again.Sockets) {
		return again
	}
	again.Lost(KeeperGone, at2)
	return again
}

// KeeperGone is the Failure of a program that was killed together with its keeper.
const KeeperGone = "its keeper is gone"

// answers tells whether somebody listens on a container's socket.
func (r *records) answers(id, sockets string) bool {
	dir, known := r.sockets[sockets]
	if !known {
		if r.sockets == nil {
			r.sockets = map[string]*os.File{}
		}
		dir, _ = openOwnDir(sockets)
		r.sockets[sockets] = dir
	}
	if dir == nil {
		return false
	}
	err := listens(SocketPath(dir, id+SocketSuffix))
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = removeStale(dir, id+SocketSuffix) // the next one tries again
	}
	return err == nil
}

// listens connects to a socket and leaves at once. An answer is not waited for.
func listens(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }()
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	if errors.Is(err, syscall.EAGAIN) { // more callers than it has taken yet
		return nil
	}
	return err
}

// damaged stands for a container whose record cannot be read. It can be removed.
func (r *records) damaged(id string, why error) Record {
	if r.names == nil {
		r.names = readNames(filepath.Join(r.dir, NamesDir))
	}
	name := r.names[id]
	if name == "" {
		name = id[:12]
	}
	rec := Record{Status: Status{Info: Info{ID: id, Name: name}, State: StateExited, Kept: true, Exit: Exit{Code: LostExit}}}
	rec.Failure = fmt.Sprintf("its record cannot be read: %v", why)
	if st, err := os.Lstat(filepath.Join(r.dir, id, RecordFile)); err == nil {
		rec.Created, rec.Finished = st.ModTime(), st.ModTime()
	}
	return rec
}

// readNames returns the names by ids.
func readNames(dir string) map[string]string {
	names := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			names[filepath.Base(to)] = e.Name()
		}
	}
	return names
}

// readJSON reads a regular file that is not too large.
func readJSON(path string, to any) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() > maxRecord {
		return fmt.Errorf("%s is no such file", filepath.Base(path))
	}
	text := make([]byte, st.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

// recordNamed returns the container that has a whole id or a name.
func (r *records) named(container string) (Record, bool) {
	if IsContainerID(container) {
		if rec, ok := r.read(container); ok {
			return rec, true
		}
	}
	if container == "" || strings.Contains(container, "/") {
		return Record{}, false
	}
	to, err := os.Readlink(filepath.Join(r.dir, NamesDir, container))
	if err != nil || !IsContainerID(filepath.Base(to)) {
		return Record{}, false
	}
	rec, ok := r.read(filepath.Base(to))
	return rec, ok && rec.Name == container // one that is being renamed still has the name on its record
}
