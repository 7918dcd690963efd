package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
	"github.com/bivouac-run/bivouac/sandbox"
)

// scratch is where the changed files of containers go. It is in memory, which the kernel takes back however the keeper
// ends, unless the kernel's tmpfs lacks user attributes (before Linux 6.6); then it is a directory of the store that the
// next keeper removes if this one cannot.
type scratch struct {
	dir    string
	onDisk bool
	lock   *filelock.Lock
}

// ScratchVariable names the environment variable that chooses where changed files go: memory, also its meaning when
// empty, or disk.
const ScratchVariable = "BIVOUAC_SCRATCH"

func newScratch(memory, disk string) (*scratch, error) {
	switch where := os.Getenv(ScratchVariable); where {
	case "", "memory":
	case "disk":
		return diskScratch(disk)
	default:
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "read $%s: %q is neither memory nor disk", ScratchVariable, where)
	}
	err := unix.Setxattr(memory, "user.bivouac", []byte("y"), 0)
	if err == nil {
		return &scratch{dir: memory}, nil
	}
	if !errors.Is(err, unix.ENOTSUP) {
		return nil, fmt.Errorf("set attribute on %s: %w", memory, err)
	}
	return diskScratch(disk)
}

func diskScratch(parent string) (*scratch, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("create scratch directory: %w", err)
	}
	removeStale(parent)
	// The lock comes first: a directory without one is nobody's.
	dir, lock, err := lockedName(parent)
	if err != nil {
		return nil, fmt.Errorf("lock scratch directory: %w", noSpace(err))
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		lock.Unlock()
		return nil, fmt.Errorf("create scratch directory: %w", noSpace(err))
	}
	return &scratch{dir: dir, onDisk: true, lock: lock}, nil
}

const lockSuffix = ".lock"

// lockedName returns a name of nobody's, and its lock. A keeper that looks for what others have left may take a lock for
// left whose file was just made: then there is another name.
func lockedName(parent string) (string, *filelock.Lock, error) {
	for range 100 {
		dir := filepath.Join(parent, newID()[:12])
		if lock, err := filelock.Try(dir + lockSuffix); lock != nil || err != nil {
			return dir, lock, err
		}
	}
	return "", nil, errors.New("others take every name")
}

// close removes a directory on disk once every container is discarded.
func (s *scratch) close() {
	if !s.onDisk {
		return
	}
	if unpack.Remove(s.dir) == nil {
		s.lock.Unlock()
	}
}

// removeStale removes what keepers left that were killed: a directory whose lock is free. A failure leaves
// it, with its lock file, for the next.
func removeStale(parent string) {
	locks, _ := filepath.Glob(filepath.Join(parent, "*"+lockSuffix))
	for _, path := range locks {
		lock, err := filelock.Try(path)
		if err == nil && lock != nil && unpack.Remove(strings.TrimSuffix(path, lockSuffix)) == nil {
			lock.Unlock()
		}
	}
}

// area is one container's part: the overlay's directories and what the keeper makes for it.
type area struct{ dir, upper, work, root, files string }

func (s *scratch) area(id string) (*area, error) {
	a := newArea(filepath.Join(s.dir, id[:12]))
	for _, d := range []string{a.dir, a.upper, a.work, a.root, a.files} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, fmt.Errorf("create scratch directory: %w", noSpace(err))
		}
	}
	return a, nil
}

// keptArea is that of a container that is kept, in its directory.
func keptArea(dir string) (*area, error) {
	a := newArea(dir)
	for _, d := range []string{a.upper, a.work, a.root, a.files} {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create container directory: %w", noSpace(err))
		}
	}
	return a, nil
}

func newArea(dir string) *area {
	return &area{
		dir: dir, upper: filepath.Join(dir, "upper"), work: filepath.Join(dir, "work"),
		root: filepath.Join(dir, "root"), files: filepath.Join(dir, "files"),
	}
}

// renew empties what the container has changed. Its root must not be mounted.
func (a *area) renew() error {
	for _, d := range []string{a.upper, a.work} {
		if err := unpack.Remove(d); err != nil {
			return err
		}
		if err := os.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("create scratch directory: %w", noSpace(err))
		}
	}
	return nil
}

// remove discards everything. Removal in memory happens anyway when the keeper ends.
func (a *area) remove() error { return unpack.Remove(a.dir) }

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w (free some memory or disk space)", err)
	}
	return err
}
