package rootfs

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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

func (s *Store) createLayer(ctx context.Context, o NewLayer) (Layer, error) {
	return s.draftLayer(ctx, func(d *draft) (Layer, error) {
		report, err := d.pack(ctx, o)
		if err != nil {
			return Layer{}, err
		}
		made := Layer{Descriptor: d.blob, DiffID: d.diffID, Size: report.Bytes, Empty: report.Entries == 0}
		if made.Empty {
			return made, nil
		}
		upper := ""
		if o.Take {
			upper = o.Upper
		}
		return made, d.publish(ctx, upper, layerInfo{Size: report.Bytes, Entries: report.Entries, Notes: report.Notes()})
	})
}

// pack writes the blob, and unless the directory is taken, unpacks it at the same time.
func (d *draft) pack(ctx context.Context, o NewLayer) (report pack.Report, err error) {
	err = d.writeBlob(cmp.Or(o.Media, ocispec.MediaTypeImageLayerGzip), func(w io.Writer) (err error) {
		report, err = d.packTo(ctx, w, o)
		return err
	})
	return report, err
}

func (d *draft) packTo(ctx context.Context, to io.Writer, o NewLayer) (report pack.Report, err error) {
	options := pack.Options{Single: d.store.ids.Single, Omit: o.Omit, Lower: o.Lower, Adopt: o.Take}
	if o.Latest != nil {
		options.Latest = *o.Latest
	}
	var copied *copying
	if !o.Take {
		if copied, err = d.startCopy(ctx); err != nil {
			return report, err
		}
		to = io.MultiWriter(to, copied)
	}
	report, err = pack.Layer(ctx, to, o.Upper, options)
	if copied != nil {
		err = errors.Join(err, copied.end(err))
	}
	return report, err
}

// copying unpacks what is written to it.
type copying struct {
	*io.PipeWriter
	done   chan error
	report unpack.Report
}

func (d *draft) startCopy(ctx context.Context) (*copying, error) {
	diff := filepath.Join(d.dir, draftDiff)
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
