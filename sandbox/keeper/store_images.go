package keeper

import (
	"context"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// removeImages answers with what was removed, also before a failure.
func (s *server) removeImages(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.RemoveImagesRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	removed, err := k.store.RemoveImages(ctx, r.Images, r.Force, k.needs)
	k.tellRemoved(removed)
	return outcome{body: wireRemoved(removed), err: err}
}

// tellRemoved puts removals on record.
func (k *keeper) tellRemoved(removed []rootfs.Removed) {
	for _, r := range removed {
		if r.Untagged != "" {
			k.bulletin.emit(sandbox.Event{Type: sandbox.EventImage, Action: "untag", ID: r.Untagged})
		}
	}
	for i, r := range removed {
		if r.Deleted != "" && (i == 0 || removed[i-1].Deleted == "") { // layers follow their images
			k.bulletin.emit(sandbox.Event{Type: sandbox.EventImage, Action: "delete", ID: r.Deleted})
		}
	}
}

func wireRemoved(removed []rootfs.Removed) []sandbox.RemovedImage {
	out := make([]sandbox.RemovedImage, len(removed))
	for i, r := range removed {
		out[i] = sandbox.RemovedImage{Untagged: r.Untagged, Deleted: r.Deleted}
	}
	return out
}

// pruneStore removes what nothing needs: the cache of builds first, whose layers then are nobody's.
func (s *server) pruneStore(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.PruneStoreRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	out := sandbox.Reclaimed{}
	k.sweepContainers()
	if r.BuildCache {
		var err error
		if out.Cache, out.Bytes, err = k.pruneCache(r.Before); err != nil {
			return outcome{err: err}
		}
	}
	pruned, err := k.store.Prune(ctx, rootfs.PruneOptions{Nameless: r.Images, All: r.AllImages, Before: r.Before, Labels: r.Labels}, k.needs)
	if err != nil {
		return outcome{err: err}
	}
	k.tellRemoved(pruned.Removed)
	out.Removed, out.Bytes = wireRemoved(pruned.Removed), out.Bytes+pruned.Bytes
	return outcome{body: out}
}

// resetStore removes everything. What is below run is this keeper's own.
func (s *server) resetStore(ctx context.Context, k *keeper, m *wire.Message) outcome {
	if err := m.Decode(&sandbox.ResetStoreRequest{}); err != nil {
		return outcome{err: err}
	}
	k.bulletin.flush()
	return outcome{err: k.store.Reset(ctx, []string{"run"}, k.needsForReset)}
}

// needsForReset has volumes' users too.
func (k *keeper) needsForReset() (rootfs.Needs, error) {
	n, err := k.needs()
	if err != nil {
		return n, err
	}
	records, err := sandbox.Records()
	if err != nil {
		return n, err
	}
	kept := map[string]bool{}
	for _, r := range records {
		kept[r.ID] = true
	}
	volumes, err := k.volumes.List()
	for _, v := range volumes {
		users, _ := v.Users() // one that cannot be read has no users who could be asked to leave
		for _, u := range users {
			if !kept[u.ID] {
				n.Users = append(n.Users, rootfs.User{Name: "who uses volume " + v.Name, Running: true})
			}
		}
	}
	return n, err
}
