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
func (s *Store) ImportLayer(ctx context.Context, r io.Reader) (Layer, error) {
	s.sweep()
	return s.draftLayer(ctx, func(d *draft) (Layer, error) {
		report, err := d.fill(ctx, r)
		if err != nil {
			return Layer{}, err
		}
		return Layer{Descriptor: d.blob, DiffID: d.diffID, Size: report.Bytes}, d.publish(ctx, "", infoOf(report))
	})
}

// fill unpacks the stream and compresses it again at the same time.
func (d *draft) fill(ctx context.Context, r io.Reader) (report unpack.Report, err error) {
	plain, err := Decompress(r)
	if err != nil {
		return report, err
	}
	defer plain.Close()
	err = d.writeBlob(ocispec.MediaTypeImageLayerGzip, func(w io.Writer) (err error) {
		report, err = d.fillFrom(ctx, io.TeeReader(plain, w))
		return err
	})
	if err != nil {
		return report, d.store.unpacking(fmt.Errorf("unpack: %w", err))
	}
	return report, nil
}

func (d *draft) fillFrom(ctx context.Context, plain io.Reader) (report unpack.Report, err error) {
	diff := filepath.Join(d.dir, draftDiff)
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
