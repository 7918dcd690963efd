package rootfs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// A layer may use a directory without describing it, and so hide the mode and owner that lower layers give it: /tmp would
// no longer be everybody's. Layers are shared between images and know nothing of each other, so what such layers hide
// is put right by one more layer of each image, on top of the others. Image tools make few images that need it.

// mayHide is true if the layer, number i from the lowest on, might hide something of that kind.
func (info layerInfo) mayHide(i int) bool { return i > 0 && len(info.Implied) > 0 }

// parentsID names the layer of the parent directories of an image. It is no diff ID: nobody has content of that digest.
func parentsID(diffIDs []digest.Digest) digest.Digest {
	var names strings.Builder
	names.WriteString("parent directories of")
	for _, id := range diffIDs {
		names.WriteString(" " + id.String())
	}
	return digest.FromString(names.String())
}

// withParents adds that layer to an image which may need it; it returns nil if it is not there.
func (s *Store) withParents(img *Image) *Image {
	id := parentsID(img.Config.RootFS.DiffIDs)
	info, ok := s.readLayer(id)
	if !ok {
		return nil
	}
	if info.Entries > 0 {
		img.Layers = append(img.Layers, s.lowerDir(id))
	}
	return img
}

// ensureParents makes that layer, empty or not, for an image that may need it. All other layers are there.
func (s *Store) ensureParents(ctx context.Context, diffIDs []digest.Digest, report *reporter) error {
	layers, hides, err := s.lowers(diffIDs)
	if err != nil || !hides {
		return err
	}
	l := &layer{store: s, diffID: parentsID(diffIDs), report: report}
	if _, ok := s.readLayer(l.diffID); ok {
		return nil
	}
	lock, err := s.lock(ctx, s.layerLock(fileName(l.diffID)), nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, ok := s.readLayer(l.diffID); ok { // while we waited
		return nil
	}
	if err := l.makeParents(layers); err != nil {
		return errors.Join(s.full(fmt.Errorf("describe parent directories: %w", err)), removeIfThere(s.layerTemp(l.diffID)))
	}
	return l.publish()
}

func (l *layer) makeParents(layers []unpack.Lower) error {
	dir, err := l.makeTemp()
	if err != nil {
		return err
	}
	n, err := unpack.Parents(filepath.Join(dir, "diff"), layers)
	if err != nil {
		return err
	}
	return l.describe(dir, unpack.Report{Entries: n})
}

// lowers returns the unpacked layers, and whether any of them may hide what lower ones say.
func (s *Store) lowers(diffIDs []digest.Digest) (layers []unpack.Lower, hides bool, _ error) {
	for i, id := range diffIDs {
		info, ok := s.readLayer(id)
		if !ok {
			return nil, false, fmt.Errorf("bug: layer %s is not complete in store %s, or somebody removes it", id, s.dir)
		}
		layers = append(layers, unpack.Lower{Dir: s.lowerDir(id), Implied: info.Implied})
		hides = hides || info.mayHide(i)
	}
	return layers, hides, nil
}
