package snapshot

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Evict removes snapshots, the least recently used first and but for those that are held, until all together have at most
// limit bytes on disk. It returns what was removed.
func (s *Store) Evict(limit int64) (evicted []Meta, err error) {
	s.sweep()
	spared := map[string]bool{}
	for {
		records, _, _, err := s.all()
		if err != nil {
			return evicted, coded(err, "evict snapshots")
		}
		if total(records) <= limit {
			return evicted, nil
		}
		r := s.leastUsed(records, spared)
		if r == nil {
			return evicted, nil
		}
		switch err := s.Remove(r.Meta.ID); {
		case errors.Is(err, InUse), errors.Is(err, rootfs.NotFound):
			spared[r.Meta.ID] = true
		case err != nil:
			return evicted, err
		default:
			evicted = append(evicted, r.Meta)
		}
	}
}

// total is how many bytes snapshots have together: each layer counts once.
func total(records []*record) (bytes int64) {
	counted := map[string]bool{}
	for _, r := range records {
		bytes += r.Own.Size
		for _, l := range r.Layers {
			if l.Store == "" && !counted[l.ID] {
				counted[l.ID] = true
				bytes += l.Size
			}
		}
	}
	return bytes
}

func (s *Store) leastUsed(records []*record, spared map[string]bool) *record {
	type candidate struct {
		record *record
		used   time.Time
	}
	var candidates []candidate
	for _, r := range records {
		if !spared[r.Meta.ID] {
			candidates = append(candidates, candidate{r, s.used(r)})
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	return slices.MinFunc(candidates, func(a, b candidate) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.record.Published, b.record.Published))
	}).record
}
