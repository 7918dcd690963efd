package snapshot

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Find returns the snapshot with a name, an id, or the beginning of an id that no other has; a name goes first.
//
// Errors: NotFound; Invalid if several ids begin so; Stale if it cannot be read.
func (s *Store) Find(ref string) (*Snapshot, error) {
	records, damaged, _, err := s.all()
	if err != nil {
		return nil, coded(err, "find snapshot %q", ref)
	}
	if r := newest(records, func(r *record) bool { return ref != "" && r.Meta.Name == ref }); r != nil {
		return s.open(r.Meta.ID)
	}
	var ids []string
	for _, r := range records {
		ids = append(ids, r.Meta.ID)
	}
	ids = slices.DeleteFunc(append(ids, damaged...), func(id string) bool { return !strings.HasPrefix(id, ref) })
	switch {
	case ref == "" || len(ids) == 0:
		return nil, notFound(ref)
	case len(ids) > 1:
		return nil, fail(Invalid, "say more of it", "%d snapshots have an id that begins with %q", len(ids), ref)
	}
	return s.open(ids[0])
}

// ByKey returns the snapshot of a content key, nil if there is none. A damaged one is none.
func (s *Store) ByKey(key string) (*Snapshot, error) {
	records, _, _, err := s.all()
	if err != nil {
		return nil, coded(err, "find snapshot of a key")
	}
	r := newest(records, func(r *record) bool { return key != "" && r.Meta.Key == key })
	if r == nil {
		return nil, nil
	}
	sn, err := s.open(r.Meta.ID)
	if isGone(err) {
		return nil, nil
	}
	return sn, err
}

// List returns all snapshots, the newest first, but for damaged ones.
func (s *Store) List() ([]*Snapshot, error) {
	records, _, _, err := s.all()
	if err != nil {
		return nil, coded(err, "list snapshots")
	}
	slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(b.Published, a.Published) })
	var list []*Snapshot
	for _, r := range records {
		sn, err := s.open(r.Meta.ID)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, coded(err, "list snapshots")
		}
		if newest(records, func(other *record) bool { return other.Meta.Name == r.Meta.Name }) != r {
			sn.record.Meta.Name = "" // whoever took it was killed before it told the other
		}
		list = append(list, sn)
	}
	return list, nil
}

// newest returns the record that was listed last of those that are meant, nil for none.
func newest(records []*record, meant func(*record) bool) (found *record) {
	for _, r := range records {
		if meant(r) && (found == nil || r.Published > found.Published) {
			found = r
		}
	}
	return found
}

func isGone(err error) bool { return errors.Is(err, Stale) || errors.Is(err, rootfs.NotFound) }

// open returns a listed snapshot.
func (s *Store) open(id string) (*Snapshot, error) {
	r, err := s.loadWhole(id)
	if err != nil {
		return nil, err
	}
	return &Snapshot{store: s, id: id, record: r}, nil
}

// rename takes name and key of a snapshot from all others, and returns those that it replaces. A failure does no harm: of
// two the later one counts. The caller has the store's lock.
func (s *Store) rename(r *record) (replaced []string, err error) {
	records, _, _, err := s.all()
	for _, other := range records {
		m := &other.Meta
		sameName, sameKey := m.Name != "" && m.Name == r.Meta.Name, m.Key != "" && m.Key == r.Meta.Key
		if m.ID == r.Meta.ID || !sameName && !sameKey {
			continue
		}
		if sameName {
			m.Name = ""
		}
		if sameKey {
			m.Key = ""
		}
		if sameKey && m.Name == "" {
			replaced = append(replaced, m.ID)
		}
		_ = s.write(other)
	}
	return replaced, err
}
