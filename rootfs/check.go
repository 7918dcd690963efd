package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Problem is one thing that is wrong with a store.
type Problem struct {
	Kind     string // blob, layer, image or leftover
	Name     string
	Text     string
	Repaired bool
}

// Check verifies all that the store has of images: every blob against its digest, every image's parts, every unpacked layer
// against its blob, file by file; and looks for what killed processes have left. With repair, it removes what is damaged, so
// that the next pull brings it anew, and what nothing needs, and unpacks layers again. Progress, if not nil, is told of each
// blob and layer.
//
// Errors: the context's, those of needs, NoSpace.
func (s *Store) Check(ctx context.Context, repair bool, needs NeedsFunc, progress func(Event)) (checked int, _ []Problem, _ error) {
	c := &checker{store: s, ctx: ctx, repair: repair, needs: needs, report: &reporter{sink: progress}, broken: map[digest.Digest]bool{}}
	for _, part := range []func() error{c.index, c.blobs, c.layers, c.images, c.leftovers} {
		if err := part(); err != nil {
			return c.checked, c.problems, about(s.full(err), "check store")
		}
	}
	return c.checked, c.problems, nil
}

// checker is the state of one Check call.
type checker struct {
	store    *Store
	ctx      context.Context
	repair   bool
	needs    NeedsFunc
	report   *reporter
	checked  int
	problems []Problem
	broken   map[digest.Digest]bool // blobs
	indexBad bool
}

// found notes a problem, and mends it if that is asked for and can be done.
func (c *checker) found(kind, name, text string, mend func() error) error {
	p := Problem{Kind: kind, Name: name, Text: text}
	if c.repair && mend != nil {
		if err := mend(); errors.Is(err, NoSpace) || c.ctx.Err() != nil {
			return errors.Join(err, c.ctx.Err())
		} else if err != nil {
			p.Text += "; it could not be mended: " + err.Error()
		} else {
			p.Repaired = true
		}
	}
	c.problems = append(c.problems, p)
	return nil
}

// blobs compares every blob with its digest.
func (c *checker) blobs() error {
	for d := range c.store.allBlobs() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		c.checked++
		c.report.send(Event{Layer: d, Kind: Note, Text: "check blob"})
		why, err := c.store.blobFault(d)
		if err != nil {
			return err
		}
		if why == "" {
			continue
		}
		c.broken[d] = true
		if err := c.found("blob", d.String(), why, func() error { return ignoreNotExist(os.Remove(c.store.blobPath(d))) }); err != nil {
			return err
		}
	}
	return nil
}

// blobFault says what is wrong with a blob; one that was just removed has no fault.
func (s *Store) blobFault(d digest.Digest) (string, error) {
	file, err := openRegular(s.blobPath(d))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "it cannot be read: " + plainly(err), nil
	}
	defer file.Close()
	verifier := d.Verifier()
	if _, err := io.Copy(verifier, file); err != nil {
		return "it cannot be read: " + plainly(err), nil
	}
	if !verifier.Verified() {
		return "its content does not have the digest that it is called by", nil
	}
	return "", nil
}

// images looks whether every image has all its parts.
func (c *checker) images() error {
	if c.indexBad {
		return nil
	}
	index, err := c.store.index()
	if err != nil {
		return err
	}
	for _, entry := range index.Manifests {
		if err := c.image(entry); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) image(entry ocispec.Descriptor) error {
	manifest, img, err := c.store.read(entry)
	if err != nil {
		return c.found("image", imageName(entry), c.store.imageFault(entry, manifest, err), func() error { return c.forget(entry) })
	}
	lacks, unpacked := 0, true
	for i, id := range img.Config.RootFS.DiffIDs {
		_, ok := c.store.readLayer(id)
		if !c.store.hasBlob(manifest.Layers[i]) && !isForeign(manifest.Layers[i].MediaType) {
			lacks++
			if !ok {
				return c.found("image", imageName(entry), fmt.Sprintf("layer %s is missing", id), func() error { return c.forget(entry) })
			}
		}
		unpacked = unpacked && ok
	}
	if !unpacked {
		return c.found("image", imageName(entry), "not all of its layers are unpacked", func() error { return c.unpackImage(entry) })
	}
	if lacks > 0 {
		return c.found("image", imageName(entry), fmt.Sprintf("blobs of its layers are missing (%d), so that it can be run but not pushed or saved; pull it again", lacks), nil)
	}
	return nil
}

// imageFault says why an image could not be read, as far as it was.
func (s *Store) imageFault(entry ocispec.Descriptor, manifest ocispec.Manifest, err error) string {
	what, d := "manifest", entry.Digest
	if manifest.Config.Digest != "" {
		what, d = "configuration", manifest.Config.Digest
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("its %s is missing: blob %s", what, d)
	}
	return fmt.Sprintf("its %s is damaged or cannot be read: %s", what, plainly(err))
}

// plainly is an error without what the system was asked: the reader knows which thing it is about.
func plainly(err error) string {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (c *checker) unpackImage(entry ocispec.Descriptor) error {
	_, err := c.store.unpackStored(c.ctx, entry, PullOptions{})
	return err
}

// forget removes the entry of an image that cannot be used.
func (c *checker) forget(entry ocispec.Descriptor) error {
	return c.store.edit(c.ctx, func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return slices.DeleteFunc(slices.Clone(entries), func(d ocispec.Descriptor) bool { return sameEntry(d, entry) }), nil
	})
}

// leftovers looks for what nobody needs.
func (c *checker) leftovers() error {
	if c.indexBad {
		return nil // nobody knows what is needed
	}
	if _, err := os.Lstat(c.store.path(ocispec.ImageLayoutFile)); errors.Is(err, os.ErrNotExist) {
		return nil // there is no store yet
	}
	r, err := c.store.beginRemoval(c.ctx, c.needs)
	if err != nil {
		return err
	}
	blobs, layers, err := r.unneeded()
	r.release()
	if err = errors.Join(err, r.end()); err != nil {
		return err
	}
	stale := c.store.staleTemps()
	if blobs+layers+len(stale) == 0 {
		return nil
	}
	text := fmt.Sprintf("%d blobs, %d layers and %d unfinished ones belong to nothing", blobs, layers, len(stale))
	return c.found("leftover", c.store.dir, text, func() error {
		_, err := c.store.Prune(c.ctx, PruneOptions{}, c.needs)
		return err
	})
}

// unneeded counts what collect would take out.
func (r *removal) unneeded() (blobs, layers int, err error) {
	index, err := r.store.index()
	if err != nil {
		return 0, 0, err
	}
	live := r.live(index)
	for d := range r.store.allBlobs() {
		if !live[blobKey(d)] {
			blobs++
		}
	}
	for l := range r.store.allLayers() {
		if !live[layerKey(l.diffID)] {
			layers++
		}
	}
	return blobs, layers, nil
}

// staleTemps are layers that nobody unpacks or makes any more.
func (s *Store) staleTemps() (stale []string) {
	for _, key := range entries(s.path("layers")) {
		for _, entry := range entries(s.path("layers", key.Name(), "tmp")) {
			if l, err := s.tryLock("layer-" + key.Name() + "-" + entry.Name()); err == nil && l != nil {
				l.Unlock()
				stale = append(stale, entry.Name())
			}
		}
	}
	return stale
}
