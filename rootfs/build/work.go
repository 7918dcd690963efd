package build

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// workspace is what one build works on. It is on the store's file system, so that an upper directory becomes a layer by its name.
type workspace struct {
	path string
	lock *filelock.Lock
	made atomic.Int64
}

const lockSuffix = ".lock"

// newWorkspace makes a directory in dir, and removes those of builds that were killed.
func newWorkspace(dir string) (*workspace, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the build's directory: %w", err)
	}
	sweepWorkspaces(dir)
	for {
		w := &workspace{path: filepath.Join(dir, rand.Text())}
		lock, err := filelock.Try(w.path + lockSuffix)
		if err != nil {
			return nil, fmt.Errorf("make the build's directory: %w", err)
		}
		if lock == nil { // somebody sweeps
			continue
		}
		w.lock = lock
		if err := os.Mkdir(w.path, 0o755); err != nil {
			lock.Unlock()
			return nil, fmt.Errorf("make the build's directory: %w", err)
		}
		return w, nil
	}
}

// sweepWorkspaces removes what no living build has. It is a courtesy: what cannot be removed is left to the next one.
func sweepWorkspaces(dir string) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range found {
		name := strings.TrimSuffix(entry.Name(), lockSuffix)
		lock, err := filelock.Try(filepath.Join(dir, name+lockSuffix))
		if err != nil || lock == nil {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			_ = unpack.Remove(filepath.Join(dir, name))
		}
		lock.Unlock()
	}
}

// dir makes an empty directory.
func (w *workspace) dir(what string) (string, error) {
	name := filepath.Join(w.path, fmt.Sprintf("%s-%d", what, w.made.Add(1)))
	if err := os.Mkdir(name, 0o755); err != nil {
		return "", fmt.Errorf("make the build's directory: %w", err)
	}
	return name, os.Chmod(name, 0o755) // whatever the umask
}

func (w *workspace) Close() error {
	err := unpack.Remove(w.path)
	w.lock.Unlock()
	return err
}

// overlay makes upper and work directory for changes to a root. The upper one has the mode and owner that the root has.
func (w *workspace) overlay(lowers []string, single bool) (o Overlay, err error) {
	o.Lowers = lowers
	if len(lowers) == 0 {
		empty, err := w.dir("empty")
		if err != nil {
			return o, err
		}
		o.Lowers = []string{empty}
	}
	if o.Upper, err = w.dir("upper"); err != nil {
		return o, err
	}
	if o.Work, err = w.dir("work"); err != nil {
		return o, err
	}
	return o, likeRoot(o.Upper, o.Lowers[len(o.Lowers)-1], single)
}

// likeRoot gives an upper directory what the root below it has.
func likeRoot(upper, lower string, single bool) error {
	from, err := os.Open(lower)
	if err != nil {
		return fmt.Errorf("read layer: %w", err)
	}
	defer from.Close()
	to, err := os.Open(upper)
	if err != nil {
		return err
	}
	defer to.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	t := &target{single: single}
	times := []unix.Timespec{st.Mtim, st.Mtim}
	return errors.Join(t.describe(to, ownerOf(from, &st, single), st.Mode&0o7777),
		unix.UtimesNanoAt(int(to.Fd()), "", times, unix.AT_EMPTY_PATH))
}
