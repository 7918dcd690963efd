package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// removeContainer removes a container that is kept and that no keeper has.
func (s *server) removeContainer(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.RemoveContainerRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	rec, err := k.lockRecord(ctx, r.ID)
	if err != nil {
		return outcome{err: err}
	}
	defer rec.close()
	known, err := sandbox.ReadRecord(r.ID)
	if err == nil && known.IDMap != "" {
		err = errors.Join(rec.load(known), k.removeForeign(rec))
	}
	if err == nil {
		err = k.erase(rec)
	}
	if err != nil {
		return outcome{err: fmt.Errorf("remove container %.12s: %w", r.ID, err)}
	}
	k.bulletin.emit(sandbox.Event{
		Type: sandbox.EventContainer, Action: "destroy", ID: r.ID, Attributes: merged(known.Labels, map[string]string{"image": known.Spec.Image, "name": known.Name}),
	})
	k.sweepContainers()
	return outcome{err: k.releaseVolumes(r.ID, known.Volumes, r.Volumes)}
}

// removeForeign removes the files that belong to another id mapping, of which the record stays if they cannot be removed.
func (k *keeper) removeForeign(r *record) error {
	if r.fixed.IDMap == k.idMap {
		return nil
	}
	err := errors.Join(unpack.Remove(filepath.Join(r.dir, "upper")), unpack.Remove(filepath.Join(r.dir, "work")))
	if err == nil {
		return nil
	}
	return sandbox.Errorf(sandbox.CodeUnsupported, "its files belong to the id mapping %s, and yours is %s: %v", r.fixed.IDMap, k.idMap, err).
		WithRemedy("restore your lines of /etc/subuid and /etc/subgid, or have root remove %s", r.dir)
}

// erase removes a container whose lock this keeper has. Killed in between, it leaves what is no container any more and what
// [keeper.sweepContainers] removes.
func (k *keeper) erase(r *record) error {
	id := filepath.Base(r.dir)
	err := k.alone(func() error {
		if err := k.unlinkNames(id); err != nil {
			return err
		}
		err := os.Remove(filepath.Join(r.dir, sandbox.RecordFile))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if dir, err := sandbox.OpenRuntimeDir(false); err == nil { // a killed keeper's sockets
		for _, name := range []string{id + sandbox.SocketSuffix, "." + id + sandbox.SocketSuffix} {
			_ = unix.Unlinkat(int(dir.Fd()), name, 0)
		}
		_ = dir.Close()
	}
	return unpack.Remove(r.dir)
}

// sweepContainers removes what killed keepers have left: directories that are no containers, and names of none.
func (k *keeper) sweepContainers() {
	entries, err := os.ReadDir(k.containersDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if sandbox.IsContainerID(e.Name()) {
			k.sweepContainer(filepath.Join(k.containersDir(), e.Name()))
		}
	}
	links, _ := os.ReadDir(filepath.Join(k.containersDir(), sandbox.NamesDir))
	for _, e := range links {
		if _, err := os.Stat(k.nameLink(e.Name())); err != nil {
			_ = k.alone(func() error { return k.checkFree(e.Name()) }) // the next one tries again
		}
	}
}

func (k *keeper) sweepContainer(dir string) {
	if lock := k.lockRest(dir); lock != nil {
		defer lock.Close()
		_ = unpack.Remove(dir) // the next one tries again
	}
}

// lockRest locks a directory that is no container, and that nobody makes or removes. It returns nil for any other.
func (k *keeper) lockRest(dir string) (lock *os.File) {
	if isContainer(dir) {
		return nil
	}
	_ = k.alone(func() (err error) { // not between a directory and its lock
		lock, err = lockDirectory(dir)
		return err
	})
	if lock != nil && isContainer(dir) { // it was finished meanwhile
		_ = lock.Close()
		return nil
	}
	return lock
}

// isContainer tells whether a directory has a container's record, or may have one.
func isContainer(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, sandbox.RecordFile))
	return !errors.Is(err, fs.ErrNotExist)
}
