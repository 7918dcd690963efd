package rootfs

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// A process notes what it needs of the store before it looks whether that is there: blobs and layers of images that it
// pulls, makes or mounts. The note is a file below leases, locked as long as the process lives. While a removal reads all
// notes and takes things away, nobody writes notes: either the remover sees one, or whoever wrote it sees that the thing is
// gone.

// lease is this process's file of notes. Each line is + or - and a key.
type lease struct {
	mu   sync.Mutex
	lock *filelock.Lock
	file *os.File // also the lock's
	held map[string]int
}

// Keys of a lease.
func blobKey(d digest.Digest) string { return "blob " + d.String() }

func layerKey(diffID digest.Digest) string { return "layer " + diffID.String() }

// useKey is that of a running container.
func useKey(image digest.Digest, container string) string {
	return "use " + image.String() + " " + container
}

// imageKeys are those of all parts of an image.
func imageKeys(entry ocispec.Descriptor, m ocispec.Manifest, diffIDs []digest.Digest) []string {
	keys := []string{blobKey(entry.Digest), blobKey(m.Config.Digest), layerKey(parentsID(diffIDs))}
	for _, d := range m.Layers {
		keys = append(keys, blobKey(d.Digest))
	}
	for _, id := range diffIDs {
		keys = append(keys, layerKey(id))
	}
	return keys
}

// Scope returns the same store with notes of its own: what it gives stays there until end is called, or the process ends.
// What has become part of an image, or is on record as used, needs no note.
func (s *Store) Scope() (scoped *Store, end func()) {
	scoped = &Store{dir: s.dir, ids: s.ids, whole: s}
	return scoped, sync.OnceFunc(func() {
		scoped.lease.mu.Lock()
		defer scoped.lease.mu.Unlock()
		for key, n := range scoped.lease.held {
			for range n {
				s.letGo(key)
			}
		}
		scoped.lease.held = nil
	})
}

// holdFor notes keys for a scope.
func (s *Store) holdFor(scoped *lease, keys []string) error {
	if err := s.hold(keys...); err != nil {
		return err
	}
	scoped.mu.Lock()
	defer scoped.mu.Unlock()
	if scoped.held == nil {
		scoped.held = map[string]int{}
	}
	for _, key := range keys {
		scoped.held[key]++
	}
	return nil
}

// hold notes keys until the process ends, or the scope.
func (s *Store) hold(keys ...string) error {
	if s.whole != nil {
		return s.whole.holdFor(&s.lease, keys)
	}
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	var text strings.Builder
	for _, key := range keys {
		if l.held[key] == 0 {
			text.WriteString("+" + key + "\n")
		}
	}
	if text.Len() > 0 {
		if err := s.noteAmongOthers(text.String()); err != nil {
			return err
		}
	}
	for _, key := range keys {
		l.held[key]++
	}
	return nil
}

// Close takes all notes of this process back. What the store has given is no longer sure to be there.
func (s *Store) Close() {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lock.Unlock()
	l.lock, l.file, l.held = nil, nil, nil
}

// letGo takes one note of a key back.
func (s *Store) letGo(key string) {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[key] == 0 {
		return // closed
	}
	if l.held[key]--; l.held[key] == 0 {
		delete(l.held, key)
		_ = s.note("-" + key + "\n") // what stays noted ends with the process
	}
}

// noteAmongOthers writes lines while nobody removes anything. The caller has the mutex.
func (s *Store) noteAmongOthers(text string) error {
	lock, err := s.lockNotes(context.Background(), unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer lock.Close()
	return s.note(text)
}

// notesPatience is how long removals may keep others waiting; each holds the lock for milliseconds.
const notesPatience = time.Minute

// lockNotes locks the directory of all notes: shared to write some, exclusively to remove what is in none.
func (s *Store) lockNotes(ctx context.Context, how int) (*os.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, notesPatience, errors.New("another process has the lock"))
	defer cancel()
	dir, err := filelock.Wait(ctx, func() (*os.File, error) { return s.tryNotes(how) })
	if err != nil {
		return nil, fmt.Errorf("lock the notes of store %s: %w", s.dir, err)
	}
	return dir, nil
}

// tryNotes returns nil if somebody else has the lock, or has just removed the directory.
func (s *Store) tryNotes(how int) (*os.File, error) {
	dir, err := s.openNotes()
	if err != nil {
		return nil, err
	}
	got, err := filelock.Flock(dir, how)
	if got {
		return dir, nil
	}
	if errors.Is(err, filelock.ErrGone) {
		err = nil
	}
	return nil, errors.Join(err, dir.Close())
}

func (s *Store) openNotes() (*os.File, error) {
	dir, err := os.Open(s.path("leases"))
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, s.full(err)
	}
	if err := os.MkdirAll(s.path("leases"), 0o700); err != nil {
		return nil, s.full(err)
	}
	return os.Open(s.path("leases"))
}

// note writes lines. The caller has the mutex.
func (s *Store) note(text string) error {
	if s.lease.file == nil {
		if err := s.openLease(); err != nil {
			return err
		}
	}
	if _, err := s.lease.file.WriteString(text); err != nil {
		return s.full(fmt.Errorf("note what is in use: %w", err))
	}
	return nil
}

func (s *Store) openLease() error {
	s.sweepSomeLeases()
	for {
		name := rand.Text()
		file, err := s.create(filepath.Join("leases", name), os.O_RDWR|os.O_EXCL)
		if err != nil {
			return err
		}
		lock, err := filelock.Take(file)
		if err != nil {
			return err
		}
		if lock != nil { // else somebody took it for one that was left
			s.lease.lock, s.lease.file, s.lease.held = lock, file, map[string]int{}
			return nil
		}
	}
}

// Bounds of what one process cleans up for others when it starts.
const (
	manyLeases = 16
	someLeases = 32
)

// sweepSomeLeases removes files of processes that have ended.
func (s *Store) sweepSomeLeases() {
	found := entries(s.path("leases"))
	if len(found) < manyLeases {
		return
	}
	for _, entry := range found[:min(len(found), someLeases)] { // random names: every time others come first
		_, _ = s.readLease(entry.Name())
	}
}

// readLease returns the keys of a lease, none if its process has ended, and then removes it.
func (s *Store) readLease(name string) (map[string]bool, error) {
	path := s.path("leases", name)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, ignore(err, fs.ErrNotExist)
	}
	if lock, err := filelock.Take(file); lock != nil || err != nil {
		lock.Unlock()
		return nil, err
	}
	if file, err = os.Open(path); err != nil { // Take has closed it
		return nil, ignore(err, fs.ErrNotExist)
	}
	defer file.Close()
	keys := map[string]bool{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if key, ok := strings.CutPrefix(lines.Text(), "+"); ok {
			keys[key] = true
		} else if key, ok := strings.CutPrefix(lines.Text(), "-"); ok {
			delete(keys, key)
		}
	}
	return keys, lines.Err()
}

// noted returns all keys that any process holds.
func (s *Store) noted() (map[string]bool, error) {
	all := map[string]bool{}
	var errs []error
	for _, entry := range entries(s.path("leases")) {
		keys, err := s.readLease(entry.Name())
		errs = append(errs, err)
		for key := range keys {
			all[key] = true
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read what is in use: %w", err)
	}
	return all, nil
}

// Use notes that a container has the image mounted. Its image is not removed until then. Release may be called more than
// once; the end of the process does the same.
//
// Errors: NoSpace.
func (s *Store) Use(img *Image, container string) (release func(), err error) {
	if img.ID == "" {
		return func() {}, nil
	}
	key := useKey(img.ID, container)
	if err := s.hold(key); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { s.letGo(key) }), nil
}
