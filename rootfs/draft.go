package rootfs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// draft is a layer that is being made.
type draft struct {
	store  *Store
	lock   *filelock.Lock
	dir    string // below layers/MAP/tmp; a sweep removes it unless it is locked
	blob   ocispec.Descriptor
	diffID digest.Digest
}

// Names in the draft's directory.
const (
	draftBlob = "blob"
	draftDiff = "diff"
)

// draftLayer has a layer made, and removes what was not published.
func (s *Store) draftLayer(ctx context.Context, make func(*draft) (Layer, error)) (_ Layer, err error) {
	if s.ids.Key == "" {
		return Layer{}, fmt.Errorf("bug: store %s was opened for reading only", s.dir)
	}
	if err := s.prepare(ctx); err != nil {
		return Layer{}, err
	}
	d, err := s.newDraft(ctx)
	if err != nil {
		return Layer{}, err
	}
	defer func() { err = errors.Join(err, d.discard()) }()
	return make(d)
}

func (s *Store) newDraft(ctx context.Context) (*draft, error) {
	if err := s.closeLayers(); err != nil {
		return nil, err
	}
	name := "new-" + rand.Text()
	lock, err := s.lock(ctx, s.layerLock(name), nil)
	if err != nil {
		return nil, err
	}
	d := &draft{store: s, lock: lock, dir: s.path("layers", s.ids.Key, "tmp", name)}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return nil, errors.Join(s.full(err), d.discard())
	}
	step("draft made")
	return d, nil
}

func (d *draft) discard() error {
	defer d.lock.Unlock()
	return removeIfThere(d.dir)
}

// writeBlob makes the blob of the archive that write writes.
func (d *draft) writeBlob(media string, write func(io.Writer) error) (err error) {
	file, err := os.OpenFile(filepath.Join(d.dir, draftBlob), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return d.compress(file, media, write)
}

func (d *draft) compress(file io.Writer, media string, write func(io.Writer) error) error {
	w, err := newBlobWriter(file, media)
	if err != nil {
		return err
	}
	if err := ended(write(w), w); err != nil {
		return err
	}
	d.blob, d.diffID = w.sums(media)
	return nil
}

// ended closes a writer and returns err, or without one what closing says: a writer that has failed says so once more.
func ended(err error, w io.Closer) error {
	closing := w.Close()
	if err != nil {
		return err
	}
	return closing
}

// publish gives blob and layer their names, unless they are there. Upper, if not empty, is the directory that becomes the
// layer's: otherwise the draft has it.
func (d *draft) publish(ctx context.Context, upper string, info layerInfo) error {
	if err := d.store.hold(blobKey(d.blob.Digest), layerKey(d.diffID)); err != nil {
		return err
	}
	if err := d.publishBlob(ctx); err != nil {
		return err
	}
	lock, err := d.store.lock(ctx, d.store.layerLock(fileName(d.diffID)), nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if there, ok := d.store.readLayer(d.diffID); ok && !there.Reowned {
		return nil
	}
	if upper != "" { // with its permissions, which a lower one needs too
		if err := os.Rename(upper, filepath.Join(d.dir, draftDiff)); err != nil {
			return err
		}
	}
	return d.publishLayer(info)
}

func (d *draft) publishBlob(ctx context.Context) error {
	lock, err := d.store.lock(ctx, "blob-"+fileName(d.blob.Digest), nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if d.store.hasBlob(d.blob) {
		return nil
	}
	return d.store.rename(filepath.Join(d.dir, draftBlob), d.store.blobPath(d.blob.Digest))
}

func (d *draft) publishLayer(info layerInfo) error {
	if err := d.store.writeLayerInfo(d.dir, info); err != nil {
		return err
	}
	if err := ignoreNotExist(os.Remove(filepath.Join(d.dir, draftBlob))); err != nil {
		return err
	}
	return d.store.nameLayer(d.dir, d.diffID)
}

func ignoreNotExist(err error) error { return ignore(err, os.ErrNotExist) }
