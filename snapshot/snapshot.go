package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Snapshot is one that is complete, whether it is listed yet or not.
type Snapshot struct {
	store *Store
	id    string

	mutex  sync.Mutex
	record *record
	draft  *Draft // nil once it is listed
}

// Meta says what is in it.
func (sn *Snapshot) Meta() Meta {
	sn.mutex.Lock()
	defer sn.mutex.Unlock()
	m := sn.record.Meta
	m.Trees, m.Detail = slices.Clone(m.Trees), slices.Clone(m.Detail)
	return m
}

// Layers are the directories of changed files, the lowest first. A clone has them above those of the image.
func (sn *Snapshot) Layers() []string {
	var dirs []string
	for _, l := range sn.record.Layers {
		dirs = append(dirs, sn.store.layerDir(l))
	}
	return dirs
}

func (s *Store) layerDir(l layer) string {
	if l.Store != "" {
		return filepath.Join(l.Store, "layers", l.ID)
	}
	return filepath.Join(s.layersDir(), l.ID)
}

// Images is the directory of CRIU's images, empty if there are none. Nothing may be written to it.
func (sn *Snapshot) Images() string {
	if !sn.record.Meta.HasImages {
		return ""
	}
	return filepath.Join(sn.store.snapshotDir(sn.id), imagesName)
}

// Tree is the directory with the content of a memory file system, one of [Meta].Trees.
func (sn *Snapshot) Tree(n int) string { return sn.store.treeDir(sn.id, n) }

func (s *Store) treeDir(id string, n int) string {
	return filepath.Join(s.snapshotDir(id), treesName, strconv.Itoa(n))
}

// Used is when it was last held, or made.
func (sn *Snapshot) Used() time.Time { return sn.store.used(sn.record) }

func (s *Store) used(r *record) time.Time {
	info, err := os.Stat(filepath.Join(s.snapshotDir(r.Meta.ID), usedName))
	if err != nil {
		return r.Meta.Created
	}
	return info.ModTime()
}

// Verify tells whether anything in the snapshot, or in a layer that it refers to, was changed since it was made.
//
// Errors: Stale, NotFound if it was removed, the context's.
func (sn *Snapshot) Verify(ctx context.Context) error {
	r, err := sn.current()
	if err != nil {
		return err
	}
	own, err := seal(ctx, sn.store.snapshotDir(sn.id), outside...)
	if err := sn.differs(ctx, "its trees or images were", own, r.Own, err); err != nil {
		return err
	}
	if digest(r.Meta.Detail) != r.Detail {
		return stale(sn.id, errors.New("its detail was changed"))
	}
	for _, l := range r.Layers {
		now, err := seal(ctx, sn.store.layerDir(l))
		if err := sn.differs(ctx, "layer "+short(l.ID)+" was", now, l.sealed, err); err != nil {
			return err
		}
	}
	return nil
}

// current reads the record again, in case it was changed.
func (sn *Snapshot) current() (*record, error) {
	sn.mutex.Lock()
	defer sn.mutex.Unlock()
	if sn.draft != nil {
		return sn.record, nil
	}
	return sn.store.loadWhole(sn.id)
}

func (sn *Snapshot) differs(ctx context.Context, what string, now, then sealed, err error) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return stale(sn.id, err)
	case now.Seal != then.Seal:
		return stale(sn.id, errors.New(what+" changed after it was made"))
	}
	return nil
}

// loadWhole is load with the detail.
func (s *Store) loadWhole(id string) (*record, error) {
	r, err := s.load(id)
	if err != nil {
		return nil, err
	}
	if r.Meta.Detail, err = readBounded(filepath.Join(s.snapshotDir(id), detailName), maxRecord); err != nil {
		return nil, stale(id, err)
	}
	if digest(r.Meta.Detail) != r.Detail {
		return nil, stale(id, errors.New("its detail was changed"))
	}
	return r, nil
}

// Publish lists the snapshot, under its name and key, which others lose. One of the same key that nobody uses is removed.
// Paths stay as they are.
//
// Errors: NoSpace; NotFound if the draft was discarded.
func (sn *Snapshot) Publish() error {
	sn.mutex.Lock()
	defer sn.mutex.Unlock()
	if sn.draft == nil {
		return nil
	}
	if !sn.draft.end() {
		return fail(rootfs.NotFound, "", "list snapshot %s: it was discarded", short(sn.id))
	}
	var replaced []string
	err := sn.store.changing(func() (err error) {
		sn.record.Published = time.Now().UnixNano()
		if err := sn.store.write(sn.record); err != nil {
			return err
		}
		replaced, err = sn.store.rename(sn.record)
		return err
	})
	if err != nil {
		return errors.Join(coded(err, "list snapshot %s", short(sn.id)), sn.draft.abandon())
	}
	sn.draft.release()
	sn.draft = nil
	for _, id := range replaced {
		_ = sn.store.Remove(id) // or whoever uses it will be the last
	}
	return nil
}
