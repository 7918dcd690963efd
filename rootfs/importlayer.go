package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// ImportLayer makes a layer of a tar stream, compressed as [Decompress] knows it: its blob, compressed by gzip, and its unpacked
// form. What this process makes is not removed before it ends.
//
// Errors: BadArchive, NoSpace, NoXattr, UnmappedID, Unsupported; those of r.
func (s *Store) ImportLayer(ctx context.Context, r io.Reader) (_ Layer, err error) {
	if err := s.prepare(ctx); err != nil {
		return Layer{}, err
	}
	s.sweep()
	d, err := s.newDraft(ctx)
	if err != nil {
		return Layer{}, err
	}
	defer func() { err = errors.Join(err, d.discard()) }()
	report, err := d.fill(ctx, r)
	if err != nil {
		return Layer{}, err
	}
	if err := s.hold(blobKey(d.blob.Digest), layerKey(d.diffID)); err != nil {
		return Layer{}, err
	}
	if err := d.publishBlob(ctx); err != nil {
		return Layer{}, err
	}
	return Layer{Descriptor: d.blob, DiffID: d.diffID, Size: report.Bytes}, d.publishFilled(ctx, report)
}

// fill unpacks the stream and compresses it again at the same time.
func (d *draft) fill(ctx context.Context, r io.Reader) (report unpack.Report, err error) {
	plain, err := Decompress(r)
	if err != nil {
		return report, err
	}
	defer plain.Close()
	file, err := os.OpenFile(filepath.Join(d.dir, draftBlob), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return report, d.store.full(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w, err := newBlobWriter(file, ocispec.MediaTypeImageLayerGzip)
	if err != nil {
		return report, err
	}
	report, err = d.fillFrom(ctx, io.TeeReader(plain, w))
	if err = errors.Join(err, w.Close()); err != nil {
		return report, d.store.unpacking(fmt.Errorf("unpack: %w", err))
	}
	d.blob, d.diffID = w.sums(ocispec.MediaTypeImageLayerGzip)
	return report, nil
}

func (d *draft) fillFrom(ctx context.Context, plain io.Reader) (report unpack.Report, err error) {
	diff := filepath.Join(d.dir, "diff")
	if err := errors.Join(os.Mkdir(diff, 0o755), os.Chmod(diff, 0o755)); err != nil { // whatever the umask
		return report, err
	}
	ahead := unpack.ReadAhead(plain)
	defer ahead.Close()
	if report, err = unpack.Layer(ctx, ahead, diff, d.store.unpackOptions()); err != nil {
		return report, err
	}
	_, err = io.Copy(io.Discard, ahead) // the digest covers what comes after the end of the archive
	return report, err
}

// publishFilled gives the unpacked layer its name, unless it is there.
func (d *draft) publishFilled(ctx context.Context, report unpack.Report) error {
	lock, err := d.store.lock(ctx, d.store.layerLock(fileName(d.diffID)), nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if info, ok := d.store.readLayer(d.diffID); ok && !info.Reowned {
		return nil
	}
	if err := ignoreNotExist(os.Remove(filepath.Join(d.dir, draftBlob))); err != nil {
		return err
	}
	l := &layer{store: d.store, d: d.blob, diffID: d.diffID, report: &reporter{}}
	if err := l.describe(d.dir, report); err != nil {
		return err
	}
	step("layer about to be named")
	if err := removeIfThere(d.store.layerPath(d.diffID)); err != nil {
		return err
	}
	return d.store.rename(d.dir, d.store.layerPath(d.diffID))
}
