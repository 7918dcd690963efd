package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// DefaultLimit is how many bytes all snapshots of a user may be together unless something else is said: 10 GiB.
const DefaultLimit = 10 << 30

// Store is a directory of snapshots. Any number of processes may use one at once; its methods may be called concurrently.
type Store struct {
	dir       string
	ephemeral bool
	swept     sync.Once

	mutex sync.Mutex
	holds map[string][]*Hold // of an ephemeral store: by snapshot, those of the stores that have its other layers
}

// Open returns the store in a directory, whose parents keep other users out. The directory is made by the first draft;
// until then the store is empty.
//
// Errors: BadConfig for a relative path.
func Open(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fail(rootfs.BadConfig, "name it by its absolute path", "open store of snapshots %q: relative path", dir)
	}
	return &Store{dir: filepath.Clean(dir), holds: map[string][]*Hold{}}, nil
}

// OpenEphemeral returns a store that ends with this process, such as one in a tmpfs. Its snapshots may refer to layers of
// other stores, whose snapshots are held until the referring one is removed or the store is closed.
//
// Errors: BadConfig for a relative path.
func OpenEphemeral(dir string) (*Store, error) {
	s, err := Open(dir)
	if err == nil {
		s.ephemeral = true
	}
	return s, err
}

// Close gives up what an ephemeral store holds of others. It removes nothing.
func (s *Store) Close() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for id := range s.holds {
		s.letGo(id)
	}
}

// letGo ends what is held for a snapshot. The caller has the mutex.
func (s *Store) letGo(id string) {
	for _, h := range s.holds[id] {
		h.Release()
	}
	delete(s.holds, id)
}

func (s *Store) snapshotDir(id string) string { return filepath.Join(s.dir, "by-id", id) }

func (s *Store) layersDir() string { return filepath.Join(s.dir, "layers") }

func (s *Store) lockPath(name string) string { return filepath.Join(s.dir, "locks", name) }

// prepare makes the store's directories. What is in them belongs to several ids that must reach it.
func (s *Store) prepare() error {
	for _, dir := range []string{"by-id", "layers", "locks", "trash"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			return coded(err, "make store of snapshots")
		}
	}
	s.spread("by-id")
	s.spread("layers")
	return nil
}

// topDirectory is FS_TOPDIR_FL of linux/fs.h.
const topDirectory = 0x20000

// spread has ext4 put each directory in this one elsewhere on the disk. Next to files that were deleted in the last minutes
// it makes new ones ten times as slowly, as it avoids their inodes. Other file systems do not know the attribute.
func (s *Store) spread(name string) {
	f, err := handle.OpenDir(filepath.Join(s.dir, name))
	if err != nil {
		return
	}
	defer f.Close()
	if flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil && flags&topDirectory == 0 {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|topDirectory))
	}
}

// tryLock returns nil if somebody else has the lock.
func (s *Store) tryLock(name string) (*filelock.Lock, error) {
	l, err := filelock.Try(s.lockPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.prepare(); err != nil {
			return nil, err
		}
		l, err = filelock.Try(s.lockPath(name))
	}
	return l, coded(err, "lock store of snapshots")
}

// lock waits for a lock until ctx ends.
func (s *Store) lock(ctx context.Context, name string) (*filelock.Lock, error) {
	return filelock.Wait(ctx, func() (*filelock.Lock, error) { return s.tryLock(name) })
}

// changing runs what changes which snapshots there are, or what they refer to, one at a time among all processes.
func (s *Store) changing(change func() error) error {
	l, err := s.lock(context.Background(), "store") // held for moments
	if err != nil {
		return err
	}
	defer l.Unlock()
	return change()
}

// LockKey waits until nobody else makes the snapshot of a key, in any process of the user, or until ctx ends. Who gets the
// lock looks for the snapshot again, then makes it. Release may be called more than once.
//
// Errors: NoSpace, BadConfig, the context's.
func (s *Store) LockKey(ctx context.Context, key string) (release func(), err error) {
	l, err := s.lock(ctx, "key-"+digest([]byte(key)))
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(l.Unlock), nil
}

// step marks the points between two changes of the store. Tests end the process there.
var step = func(string) {}
