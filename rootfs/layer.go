package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// layerInfo is what layer.json says of an unpacked layer. A layer without it is none.
type layerInfo struct {
	Size    int64    `json:"size"`              // bytes of all files
	Entries int      `json:"entries"`           // of the archive
	Reowned bool     `json:"reowned,omitempty"` // made with IgnoreChownErrors, and that made a difference
	Implied []string `json:"implied,omitempty"` // directories that it uses without describing them
	Notes   []string `json:"notes,omitempty"`   // what a user of the image should know
}

// readLayer says whether a layer is unpacked, for this id mapping.
func (s *Store) readLayer(diffID digest.Digest) (info layerInfo, ok bool) {
	content, err := os.ReadFile(filepath.Join(s.layerPath(diffID), "layer.json"))
	if err != nil {
		return info, false
	}
	return info, json.Unmarshal(content, &info) == nil
}

func (s *Store) lowerDir(diffID digest.Digest) string {
	return filepath.Join(s.layerPath(diffID), "diff")
}

// layer is one layer to be had: its blob in the store, and its files unpacked.
type layer struct {
	store  *Store
	source source
	d      ocispec.Descriptor
	diffID digest.Digest
	report *reporter
	o      unpack.Options
}

// usable is true if the layer is unpacked as the options want it.
func (l *layer) usable() bool {
	info, ok := l.store.readLayer(l.diffID)
	return ok && (l.o.IgnoreChownErrors || !info.Reowned)
}

// ensure makes blob and files be there. Whoever has the lock of a diff ID may wait for that of a blob, never the
// other way round.
func (l *layer) ensure(ctx context.Context) error {
	if l.usable() && l.store.hasBlob(l.d) {
		l.report.send(Event{Layer: l.d.Digest, Kind: Exists, Current: l.d.Size, Total: l.d.Size})
		return nil
	}
	lock, err := l.store.lock(ctx, l.store.layerLock(fileName(l.diffID)), func() {
		l.report.send(Event{Layer: l.d.Digest, Kind: Note, Text: "waiting for another process that unpacks it"})
	})
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if l.usable() && l.store.hasBlob(l.d) { // while we waited
		l.report.send(Event{Layer: l.d.Digest, Kind: Exists, Current: l.d.Size, Total: l.d.Size})
		return nil
	}
	if err := l.fetch(ctx); err != nil {
		return err
	}
	l.report.send(Event{Layer: l.d.Digest, Kind: Done, Current: l.d.Size, Total: l.d.Size})
	return nil
}

// fetch gets what is not there. What lies under the temporary name is ours or nobody's.
func (l *layer) fetch(ctx context.Context) error {
	if l.usable() {
		return l.store.receive(ctx, l.source, l.d, l.report, func(io.Reader) error { return nil })
	}
	err := l.store.receive(ctx, l.source, l.d, l.report, func(r io.Reader) error { return l.unpack(ctx, r) })
	if err != nil {
		return errors.Join(err, removeIfThere(l.store.layerTemp(l.diffID)))
	}
	return l.publish()
}

func (s *Store) layerLock(name string) string { return "layer-" + s.ids.Key + "-" + name }

// unpack extracts the compressed layer r under a temporary name, while it may still be on its way.
func (l *layer) unpack(ctx context.Context, r io.Reader) error {
	dir, err := l.makeTemp()
	if err != nil {
		return err
	}
	l.report.send(Event{Layer: l.d.Digest, Kind: Unpack, Total: l.d.Size})
	report, err := l.extract(ctx, r, filepath.Join(dir, "diff"))
	if err != nil {
		return l.named(err)
	}
	step("layer unpacked")
	return l.describe(dir, report)
}

// makeTemp makes the temporary directory anew: what is there was left by somebody who was killed.
func (l *layer) makeTemp() (string, error) {
	dir := l.store.layerTemp(l.diffID)
	if err := removeIfThere(dir); err != nil {
		return "", err
	}
	if err := l.store.closeLayers(); err != nil {
		return "", err
	}
	diff := filepath.Join(dir, "diff")
	if err := os.MkdirAll(diff, 0o755); err != nil {
		return "", l.store.full(err)
	}
	step("temporary layer made")
	return dir, l.store.full(os.Chmod(diff, 0o755)) // whatever the umask
}

// closeLayers keeps other users from the layers even if the store's directory was made by somebody else: a setuid file
// of an image is a setuid file of ours.
func (s *Store) closeLayers() error {
	err := os.MkdirAll(s.path("layers"), 0o700)
	if err == nil {
		err = os.Chmod(s.path("layers"), 0o700)
	}
	return s.full(err)
}

// extract receives, decompresses and unpacks in goroutines of their own.
func (l *layer) extract(ctx context.Context, r io.Reader, dir string) (unpack.Report, error) {
	ahead := unpack.ReadAhead(r)
	defer ahead.Close()
	plain, err := decompress(ahead)
	if err != nil {
		return unpack.Report{}, err
	}
	defer plain.Close()
	hash := l.diffID.Algorithm().Hash()
	tar := unpack.ReadAhead(io.TeeReader(plain, hash))
	defer tar.Close()
	report, err := unpack.Layer(ctx, tar, dir, l.o)
	if err != nil {
		return report, err
	}
	if got := digest.NewDigest(l.diffID.Algorithm(), hash); got != l.diffID {
		return report, fail(DigestMismatch, "the image is damaged where it comes from",
			"check layer: the unpacked content has the digest %s, its configuration promises %s", got, l.diffID)
	}
	return report, nil
}

// infoOf is what layer.json says of an unpacked layer.
func infoOf(report unpack.Report) layerInfo {
	return layerInfo{Size: report.Bytes, Entries: report.Entries, Implied: report.Implied, Notes: report.Notes(),
		Reowned: report.Reowned.Count > 0}
}

// describe writes layer.json, and tells of its notes.
func (l *layer) describe(dir string, report unpack.Report) error {
	info := infoOf(report)
	for _, note := range info.Notes {
		l.report.send(Event{Layer: l.d.Digest, Kind: Note, Text: note})
	}
	defer step("layer described")
	return l.store.writeLayerInfo(dir, info)
}

func (s *Store) writeLayerInfo(dir string, info layerInfo) error {
	content, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return s.full(os.WriteFile(filepath.Join(dir, "layer.json"), content, 0o644))
}

// publish gives an unpacked layer its final name.
func (l *layer) publish() error { return l.store.nameLayer(l.store.layerTemp(l.diffID), l.diffID) }

// nameLayer gives an unpacked layer its final name. What has it is of no use: it was unpacked with other options.
func (s *Store) nameLayer(dir string, diffID digest.Digest) error {
	step("layer about to be named")
	if err := removeIfThere(s.layerPath(diffID)); err != nil {
		return err
	}
	return s.rename(dir, s.layerPath(diffID))
}

// named says which layer a failure is about, and what kind of failure it is.
func (l *layer) named(err error) error {
	return l.store.unpacking(fmt.Errorf("unpack layer %s: %w", l.d.Digest, err))
}

// unpacking gives a failure to unpack its code.
func (s *Store) unpacking(err error) error {
	var unmapped *unpack.UnmappedIDError
	for _, kind := range []struct {
		is   bool
		code Code
	}{
		{errors.Is(err, unpack.ErrNoXattr), NoXattr},
		{errors.Is(err, unpack.ErrWhiteout), Unsupported},
		{errors.Is(err, unpack.ErrTooLarge), TooLarge},
		{errors.Is(err, unpack.ErrEscape), BadArchive},
		{errors.Is(err, unpack.ErrArchive), BadArchive},
		{errors.Is(err, syscall.ENAMETOOLONG), BadArchive},
		{errors.As(err, &unmapped), UnmappedID},
		{errors.Is(err, BadArchive), BadArchive},
	} {
		if kind.is {
			return &Error{Code: kind.code, Err: err}
		}
	}
	return s.full(err)
}

// removeIfThere removes a tree of foreign owners and modes.
func removeIfThere(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	defer step("tree removed")
	return unpack.Remove(dir)
}
