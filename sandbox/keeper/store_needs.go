package keeper

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
)

// needs is what containers that are kept, snapshots and the cache of builds need of the store. Containers that are not kept
// have notes of their own there, see [container.useImage].
func (k *keeper) needs() (rootfs.Needs, error) {
	n := rootfs.Needs{}
	records, err := sandbox.Records()
	if err != nil {
		return n, err
	}
	for _, r := range records {
		n.Users = append(n.Users, recordUser(&r))
	}
	snapshots, err := k.allSnapshots()
	if err != nil {
		return n, err
	}
	for _, s := range snapshots {
		n.Users = append(n.Users, imageUser("snapshot "+firstOf(s.Name, s.ID[:12]), s.Image))
	}
	n.Blobs, n.DiffIDs, err = k.cacheNeeds()
	return n, err
}

func recordUser(r *sandbox.Record) rootfs.User {
	u := imageUser("container "+r.Name, r.Image)
	u.Container, u.Running = r.ID, r.State.Running()
	for _, id := range r.Layers {
		if d := digest.Digest(id); d.Validate() == nil {
			u.DiffIDs = append(u.DiffIDs, d)
		}
	}
	return u
}

// imageUser needs the image that it was made from. What is no digest is none.
func imageUser(name string, image sandbox.ImageInfo) rootfs.User {
	u := rootfs.User{Name: name}
	if d := digest.Digest(image.ID); d.Validate() == nil {
		u.Image = d
	}
	if d := digest.Digest(image.Digest); d.Validate() == nil {
		u.Manifest = d
	}
	return u
}

// allSnapshots are those of all id mappings. Of a damaged one little is known.
func (k *keeper) allSnapshots() ([]sandbox.Snapshot, error) {
	var all []sandbox.Snapshot
	dirs, _ := os.ReadDir(filepath.Join(k.home, "snapshots")) // none before the first
	for _, d := range dirs {
		s, err := snapshot.Open(filepath.Join(k.home, "snapshots", d.Name()))
		if err != nil {
			return nil, err
		}
		list, err := s.List()
		if err != nil {
			return nil, err
		}
		for _, sn := range list {
			one, _ := describe(sn)
			all = append(all, one)
		}
	}
	return all, nil
}

// imageUse is the note of a container that its image is in use.
type imageUse struct {
	mu      sync.Mutex
	release func() // nil without a note
}

// useImage notes that the container needs its image, until its program ends: who knows of that end may remove the image, though
// it is mounted for a while yet. What is mounted has notes of its own; of containers that are kept the record counts.
func (c *container) useImage() (err error) {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	if c.use.release == nil {
		c.use.release, err = c.k.store.Use(c.image, c.id)
	}
	return err
}

// unuseImage takes the note back, if there is one.
func (c *container) unuseImage() {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	if c.use.release != nil {
		c.use.release()
		c.use.release = nil
	}
}
