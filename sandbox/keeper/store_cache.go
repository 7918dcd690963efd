package keeper

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/sandbox"
)

// cacheNeeds are the layers that the cache of builds names, by their blobs and diff IDs.
func (k *keeper) cacheNeeds() (blobs, diffIDs []digest.Digest, err error) {
	entries, err := build.Entries(k.store)
	for _, e := range entries {
		if e.DiffID != "" {
			blobs, diffIDs = append(blobs, e.Blob.Digest), append(diffIDs, e.DiffID)
		}
	}
	return blobs, diffIDs, err
}

// cacheUsage counts of a step's layer what no image has, and each layer once.
func (k *keeper) cacheUsage(spare map[digest.Digest]int64) ([]sandbox.CacheUsage, error) {
	entries, err := build.Entries(k.store)
	if err != nil {
		return nil, err
	}
	counted := map[digest.Digest]bool{}
	var list []sandbox.CacheUsage
	for _, e := range entries {
		u := sandbox.CacheUsage{Key: e.Key, Kind: "layer", Text: e.Text, Used: e.Used}
		for _, d := range []digest.Digest{e.DiffID, e.Blob.Digest} {
			if !counted[d] {
				counted[d] = true
				u.Size += spare[d]
			}
		}
		list = append(list, u)
	}
	return append(list, k.cacheMounts()...), nil
}

// cacheMounts are the directories of RUN --mount=type=cache.
func (k *keeper) cacheMounts() (list []sandbox.CacheUsage) {
	dir := filepath.Join(k.home, "build", "mounts")
	found, _ := os.ReadDir(dir) // none before the first
	for _, e := range found {
		u := sandbox.CacheUsage{Key: e.Name(), Kind: "mount", Size: rootfs.DiskUsage(filepath.Join(dir, e.Name()))}
		if info, err := e.Info(); err == nil {
			u.Used = info.ModTime()
		}
		var about struct{ ID string }
		if text, err := os.ReadFile(filepath.Join(dir, e.Name(), "mount.json")); err == nil && json.Unmarshal(text, &about) == nil {
			u.Text = about.ID
		}
		list = append(list, u)
	}
	return list
}

// pruneCache removes what was not used since a time, if there is one, and what no build uses. The layers of steps are nobody's then.
func (k *keeper) pruneCache(before time.Time) (keys []string, bytes int64, err error) {
	list, err := k.cacheUsage(nil)
	if err != nil {
		return nil, 0, err
	}
	for _, item := range list {
		if !before.IsZero() && !item.Used.Before(before) {
			continue
		}
		gone, err := k.removeCached(item)
		if err != nil {
			return keys, bytes, err
		}
		if gone {
			keys, bytes = append(keys, item.Key), bytes+item.Size
		}
	}
	if before.IsZero() {
		err = build.PruneHashes(k.store)
	}
	return keys, bytes, err
}

func (k *keeper) removeCached(item sandbox.CacheUsage) (gone bool, err error) {
	if item.Kind == "mount" {
		return build.RemoveMount(k.store, item.Key)
	}
	return true, build.RemoveEntry(k.store, item.Key)
}
