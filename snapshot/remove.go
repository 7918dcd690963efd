package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Remove removes a snapshot, damaged or not, by its whole id, and the layers that no other refers to.
//
// Errors: NotFound; InUse while somebody holds it.
func (s *Store) Remove(id string) error {
	if !idGrammar().MatchString(id) {
		return notFound(id)
	}
	if _, err := os.Lstat(filepath.Join(s.snapshotDir(id), recordName)); err != nil {
		return errors.Join(notFound(id), ignoreMissing(err))
	}
	f, err := s.hold(id, unix.LOCK_EX)
	if err == nil {
		defer f.Close()
	} else if errors.Is(err, InUse) {
		return err
	}
	return coded(s.discard(id), "remove snapshot %s", short(id))
}

// discard removes a snapshot that nobody uses, with its layers.
func (s *Store) discard(id string) error {
	err := s.changing(func() error {
		if err := s.trash("by-id", id); err != nil {
			return err
		}
		s.mutex.Lock()
		s.letGo(id)
		s.mutex.Unlock()
		return s.collect(id)
	})
	s.emptyTrash()
	return err
}

// trash takes something out of the store at once; to delete it may take a while.
func (s *Store) trash(dir, name string) error {
	err := unix.Rename(filepath.Join(s.dir, dir, name), filepath.Join(s.dir, "trash", name))
	step("trashed")
	return ignoreMissing(err)
}

// emptyTrash deletes what was taken out, also by others who were killed. What is not deleted is left to the next.
func (s *Store) emptyTrash() {
	names, _ := s.entries("trash")
	for _, name := range names {
		_ = unpack.Remove(filepath.Join(s.dir, "trash", name))
	}
}

// collect takes out layers that no snapshot refers to, but for those of drafts: of those only the one of mine, whose lock
// the caller may have. It leaves all where it cannot know. The caller has the store's lock.
func (s *Store) collect(mine string) error {
	records, damaged, unknown, err := s.all()
	if err != nil || unknown || slices.ContainsFunc(damaged, s.isHeld) {
		return err
	}
	wanted := map[string]bool{}
	for _, r := range records {
		for _, l := range r.Layers {
			wanted[l.ID] = true
		}
	}
	layers, err := s.entries("layers")
	for _, id := range layers {
		if !wanted[id] && (owner(id) == mine || !s.isDraft(owner(id))) {
			err = errors.Join(err, s.trash("layers", id))
		}
	}
	return err
}

// isDraft tells whether somebody makes a snapshot, or uses one that was never listed.
func (s *Store) isDraft(id string) bool {
	lock, err := s.tryLock(id)
	if err != nil || lock == nil {
		return true
	}
	defer lock.Unlock()
	return s.isHeld(id)
}

func (s *Store) isHeld(id string) bool {
	f, err := s.hold(id, unix.LOCK_EX)
	if err == nil {
		f.Close()
	}
	return err != nil && !errors.Is(err, rootfs.NotFound)
}

// sweep removes what processes left that were killed, and damaged snapshots. It is a courtesy: what cannot be removed is
// left to the next sweep.
func (s *Store) sweep() {
	if _, err := os.Lstat(s.dir); err != nil {
		return
	}
	_ = s.changing(func() error {
		ids, err := s.entries("by-id")
		for _, id := range ids {
			if s.isLeft(id) {
				err = errors.Join(err, s.trash("by-id", id))
			}
		}
		return errors.Join(err, s.collect(""))
	})
	s.emptyTrash()
	s.sweepLocks()
}

// isLeft tells whether a directory is of no use to anybody.
func (s *Store) isLeft(id string) bool {
	_, err := s.load(id)
	switch {
	case errors.Is(err, rootfs.NotFound):
		return !s.isDraft(id)
	case errors.Is(err, Stale) && !errors.Is(err, errFormat):
		return !s.isHeld(id)
	}
	return false
}

// sweepLocks removes lock files that outlived their process.
func (s *Store) sweepLocks() {
	names, _ := s.entries("locks")
	for _, name := range names {
		if lock, err := s.tryLock(name); err == nil {
			lock.Unlock()
		}
	}
}
