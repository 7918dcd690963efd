package rootfs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/pack"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// NewLayer says what to make a layer of. Only Upper is needed.
type NewLayer struct {
	// Upper is the upper directory of an overlay, mounted with the store's id mapping.
	Upper string
	// Take renames the directory into the store, as the unpacked layer; it must be on the store's file system, and nobody else
	// may use it. What of it is still there afterwards is the caller's to remove. Else it is only read.
	Take bool
	// Omit are paths from the root that are left out with all below them: where something was mounted, and what is the
	// keeper's own.
	Omit []string
	// Lower are the directories of the layers below, lowest first. With them the layer has no marks that hide nothing, and no
	// directories that only led to what is omitted.
	Lower []string
	// Latest, if not nil, replaces later times of modification.
	Latest *time.Time
	// Media is the layer's media type: OCI's tar, tar+gzip or tar+zstd; empty for tar+gzip.
	Media string
}

// Layer is one layer of the store.
type Layer struct {
	Descriptor ocispec.Descriptor // of the blob
	DiffID     digest.Digest
	Size       int64 // bytes of all files
	Empty      bool  // nothing changed: it is not in the store, and no image needs it
}

// CreateLayer makes a layer of a directory: its blob, the same for the same files, and its unpacked form. What this process
// makes is not removed before the process ends.
//
// Errors: NoSpace, NoXattr, TooLarge for a path that is too long, Unsupported for a media type.
func (s *Store) CreateLayer(ctx context.Context, o NewLayer) (Layer, error) {
	l, err := s.createLayer(ctx, o)
	if errors.Is(err, pack.ErrTooLong) {
		err = &Error{Code: TooLarge, Err: err}
	}
	if err != nil {
		return Layer{}, about(s.full(err), "make a layer")
	}
	return l, nil
}

// UseLayer looks for a layer that was made before. If its blob and its files are in the store, they stay there until this
// process ends, and dir is the directory of the files.
//
// Errors: NoSpace.
func (s *Store) UseLayer(l Layer) (dir string, ok bool, err error) {
	if l.DiffID.Validate() != nil || l.Descriptor.Digest.Validate() != nil {
		return "", false, nil
	}
	if err := s.hold(blobKey(l.Descriptor.Digest), layerKey(l.DiffID)); err != nil {
		return "", false, err
	}
	_, unpacked := s.readLayer(l.DiffID)
	return s.lowerDir(l.DiffID), unpacked && s.hasBlob(l.Descriptor), nil
}

func (s *Store) createLayer(ctx context.Context, o NewLayer) (_ Layer, err error) {
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
	report, err := d.pack(ctx, o)
	if err != nil {
		return Layer{}, err
	}
	made := Layer{Descriptor: d.blob, DiffID: d.diffID, Size: report.Bytes, Empty: report.Entries == 0}
	if made.Empty {
		return made, nil
	}
	return made, d.publish(ctx, o, report)
}

// draft is a layer that is being made.
type draft struct {
	store  *Store
	lock   *filelock.Lock
	dir    string // below layers/MAP/tmp; a sweep removes it unless it is locked
	blob   ocispec.Descriptor
	diffID digest.Digest
}

// draftBlob is the name of the blob in the draft's directory.
const draftBlob = "blob"

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

// pack writes the blob, and unless the directory is taken, unpacks it at the same time.
func (d *draft) pack(ctx context.Context, o NewLayer) (report pack.Report, err error) {
	file, err := os.OpenFile(filepath.Join(d.dir, draftBlob), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	media := o.Media
	if media == "" {
		media = ocispec.MediaTypeImageLayerGzip
	}
	w, err := newBlobWriter(file, media)
	if err != nil {
		return report, err
	}
	if report, err = d.packTo(ctx, w, o); err != nil {
		return report, err
	}
	d.blob, d.diffID = w.sums(media)
	return report, nil
}

func (d *draft) packTo(ctx context.Context, w *blobWriter, o NewLayer) (report pack.Report, err error) {
	options := pack.Options{Single: d.store.ids.Single, Omit: o.Omit, Lower: o.Lower, Adopt: o.Take}
	if o.Latest != nil {
		options.Latest = *o.Latest
	}
	var to io.Writer = w
	var copied *copying
	if !o.Take {
		if copied, err = d.startCopy(ctx); err != nil {
			return report, errors.Join(err, w.Close())
		}
		to = io.MultiWriter(w, copied)
	}
	report, err = pack.Layer(ctx, to, o.Upper, options)
	if copied != nil {
		err = errors.Join(err, copied.end(err))
	}
	return report, errors.Join(err, w.Close())
}

// copying unpacks what is written to it.
type copying struct {
	*io.PipeWriter
	done   chan error
	report unpack.Report
}

func (d *draft) startCopy(ctx context.Context) (*copying, error) {
	diff := filepath.Join(d.dir, "diff")
	if err := os.Mkdir(diff, 0o755); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	c := &copying{PipeWriter: w, done: make(chan error, 1)}
	go func() {
		tar := unpack.ReadAhead(r)
		var err error
		c.report, err = unpack.Layer(ctx, tar, diff, d.store.unpackOptions())
		_ = r.CloseWithError(err)
		_ = tar.Close()
		c.done <- err
	}()
	return c, nil
}

// end waits for the last file. After a failure of the writer its own error counts.
func (c *copying) end(failure error) error {
	_ = c.CloseWithError(failure)
	if err := <-c.done; failure == nil {
		return err
	}
	return nil
}

// publish gives blob and layer their names.
func (d *draft) publish(ctx context.Context, o NewLayer, report pack.Report) error {
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
	if info, ok := d.store.readLayer(d.diffID); ok && !info.Reowned {
		return nil
	}
	if o.Take {
		if err := d.take(o.Upper); err != nil {
			return err
		}
	}
	return d.publishLayer(report)
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

// take renames the upper directory, whose permissions a lower one needs too.
func (d *draft) take(upper string) error {
	return os.Rename(upper, filepath.Join(d.dir, "diff"))
}

func (d *draft) publishLayer(report pack.Report) error {
	content, err := json.Marshal(layerInfo{Size: report.Bytes, Entries: report.Entries, Notes: report.Notes()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "layer.json"), content, 0o644); err != nil {
		return err
	}
	if err := ignoreNotExist(os.Remove(filepath.Join(d.dir, draftBlob))); err != nil {
		return err
	}
	step("layer about to be named")
	if err := removeIfThere(d.store.layerPath(d.diffID)); err != nil {
		return err
	}
	return d.store.rename(d.dir, d.store.layerPath(d.diffID))
}

func ignoreNotExist(err error) error { return ignore(err, os.ErrNotExist) }
