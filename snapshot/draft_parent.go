package snapshot

import (
	"context"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// inherit takes over the parent's layers.
func (d *Draft) inherit(ctx context.Context, parent *Snapshot) error {
	if d.store.ephemeral {
		if err := d.store.inheritHolds(d.id, parent); err != nil {
			return err
		}
	}
	for _, l := range parent.record.Layers {
		if l.Store == "" && parent.store.dir != d.store.dir {
			l.Store = parent.store.dir
		}
		if l.Store == d.store.dir {
			l.Store = ""
		}
		if l.Store != "" && !d.store.ephemeral {
			if err := d.copyLayer(ctx, l); err != nil {
				return err
			}
			continue
		}
		d.layers = append(d.layers, l)
	}
	return nil
}

// inheritHolds holds, for a snapshot of this ephemeral store, what has the layers that it refers to in other stores.
func (s *Store) inheritHolds(id string, parent *Snapshot) error {
	of := []*Snapshot{}
	if parent.store.dir != s.dir {
		of = append(of, parent)
	}
	parent.store.mutex.Lock()
	for _, h := range parent.store.holds[parent.id] {
		of = append(of, h.of)
	}
	parent.store.mutex.Unlock()
	for _, sn := range of {
		h, err := sn.Hold()
		if err != nil {
			return err
		}
		s.mutex.Lock()
		s.holds[id] = append(s.holds[id], h)
		s.mutex.Unlock()
	}
	return nil
}

func (d *Draft) copyLayer(ctx context.Context, from layer) error {
	dir, err := d.addLayer()
	if err != nil {
		return err
	}
	return copyDirectory(ctx, dir, d.store.layerDir(from), CopyOptions{Layer: true})
}

func copyDirectory(ctx context.Context, to, from string, o CopyOptions) error {
	dst, err := handle.OpenDir(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	src, err := handle.OpenDir(from)
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = CopyTree(ctx, dst, src, o)
	return err
}
