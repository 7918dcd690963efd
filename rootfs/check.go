package rootfs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/pack"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
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

// index looks whether there is a list of images at all.
func (c *checker) index() error {
	content, err := os.ReadFile(c.store.path(ocispec.ImageIndexFile))
	if err != nil {
		return ignoreNotExist(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(content, &index); err != nil {
		c.indexBad = true
		return c.found("image", ocispec.ImageIndexFile, fmt.Sprintf("the list of images cannot be read: %v", err), c.remakeIndex)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d); err != nil {
			return c.found("image", imageName(d), err.Error(), c.rewriteIndex)
		}
	}
	return nil
}

// rewriteIndex drops the entries that make no sense.
func (c *checker) rewriteIndex() error {
	return c.lockedIndex(func() error {
		index, err := c.store.index()
		if err != nil {
			return err
		}
		return c.store.writeIndex(index)
	})
}

func (c *checker) lockedIndex(f func() error) error {
	lock, err := c.store.lock(c.ctx, "index", nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return f()
}

// remakeIndex lists all images that are whole, without names, which are lost.
func (c *checker) remakeIndex() error {
	err := c.lockedIndex(func() error {
		index := ocispec.Index{}
		index.SchemaVersion, index.MediaType = 2, ocispec.MediaTypeImageIndex
		index.Manifests = c.store.manifests()
		return c.store.writeIndex(index)
	})
	c.indexBad = err != nil
	return err
}

// manifests are entries of all blobs that are image manifests.
func (s *Store) manifests() []ocispec.Descriptor {
	list := []ocispec.Descriptor{}
	for d := range s.allBlobs() {
		info, err := os.Lstat(s.blobPath(d))
		if err != nil || info.Size() > maxManifest {
			continue
		}
		entry := ocispec.Descriptor{Digest: d, Size: info.Size()}
		content, err := s.readBlob(entry)
		if err != nil || !bytes.Contains(content, []byte(`"layers"`)) {
			continue
		}
		if entry.MediaType, err = sniff(content, ""); err != nil || !isManifest(entry.MediaType) {
			continue
		}
		if _, img, err := s.read(entry); err == nil {
			platform := img.Config.Platform
			entry.Platform = &platform
			list = append(list, entry)
		}
	}
	slices.SortFunc(list, func(a, b ocispec.Descriptor) int { return bytes.Compare([]byte(a.Digest), []byte(b.Digest)) })
	return list
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
		return err.Error(), nil
	}
	defer file.Close()
	verifier := d.Verifier()
	if _, err := io.Copy(verifier, file); err != nil {
		return fmt.Sprintf("it cannot be read: %v", err), nil
	}
	if !verifier.Verified() {
		return "its content does not have the digest that it is called by", nil
	}
	return "", nil
}

// layers looks at every unpacked layer of this id mapping.
func (c *checker) layers() error {
	blobs, err := c.layerBlobs()
	if err != nil {
		return err
	}
	for l := range c.store.allLayers() {
		if l.key != c.store.ids.Key {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		c.checked++
		c.report.send(Event{Layer: l.diffID, Kind: Note, Text: "check layer"})
		if err := c.layer(l, blobs[l.diffID]); err != nil {
			return err
		}
	}
	return nil
}

// layerBlobs are the blobs of layers, by diff ID, of all images.
func (c *checker) layerBlobs() (map[digest.Digest]ocispec.Descriptor, error) {
	blobs := map[digest.Digest]ocispec.Descriptor{}
	if c.indexBad {
		return blobs, nil
	}
	index, err := c.store.index()
	for _, entry := range index.Manifests {
		if manifest, img, err := c.store.read(entry); err == nil {
			for i, id := range img.Config.RootFS.DiffIDs {
				blobs[id] = manifest.Layers[i]
			}
		}
	}
	return blobs, err
}

func (c *checker) layer(l placed, blob ocispec.Descriptor) error {
	info, ok := c.store.readLayer(l.diffID)
	if _, err := os.Lstat(l.dir); errors.Is(err, os.ErrNotExist) {
		return nil // it was just removed
	}
	why := "its description is missing or damaged"
	if ok {
		var err error
		if why, err = c.layerFault(l, info, blob); err != nil {
			return err
		}
	}
	if why == "" {
		return nil
	}
	return c.found("layer", l.diffID.String(), why, func() error { return c.remakeLayer(l, blob) })
}

// layerFault compares an unpacked layer with what its blob unpacks to.
func (c *checker) layerFault(l placed, info layerInfo, blob ocispec.Descriptor) (string, error) {
	got, err := c.sumOf(filepath.Join(l.dir, "diff"))
	if err != nil {
		return fmt.Sprintf("its files cannot be read: %v", err), c.ctx.Err()
	}
	if got == l.diffID || blob.Digest == "" || c.broken[blob.Digest] || !c.store.hasBlob(blob) {
		return "", nil
	}
	dir, free, err := c.tempLayer()
	if err != nil {
		return "", err
	}
	defer free()
	if err := c.unpackTo(dir, l.diffID, blob, info.Reowned); err != nil {
		return "", err
	}
	want, err := c.sumOf(dir)
	if err != nil {
		return "", err
	}
	if got != want {
		return "its files are not those of its blob", nil
	}
	return "", nil
}

// sumOf is a digest of a tree, that of the stream which it would be packed to.
func (c *checker) sumOf(dir string) (digest.Digest, error) {
	sum := digest.Canonical.Hash()
	_, err := pack.Layer(c.ctx, sum, dir, pack.Options{Single: c.store.ids.Single})
	return digest.NewDigest(digest.Canonical, sum), err
}

// tempLayer makes a directory that a sweep removes if this process is killed.
func (c *checker) tempLayer() (dir string, free func(), err error) {
	name := "check-" + rand.Text()
	lock, err := c.store.lock(c.ctx, c.store.layerLock(name), nil)
	if err != nil {
		return "", nil, err
	}
	top := c.store.path("layers", c.store.ids.Key, "tmp", name)
	free = func() {
		_ = unpack.Remove(top) // the next sweep tries again
		lock.Unlock()
	}
	dir = filepath.Join(top, "diff")
	if err = os.MkdirAll(dir, 0o755); err != nil {
		free()
	}
	return dir, free, err
}

func (c *checker) unpackTo(dir string, diffID digest.Digest, blob ocispec.Descriptor, reowned bool) error {
	file, err := os.Open(c.store.blobPath(blob.Digest))
	if err != nil {
		return err
	}
	defer file.Close()
	o := c.store.unpackOptions()
	o.IgnoreChownErrors = reowned
	l := &layer{store: c.store, d: blob, diffID: diffID, report: &reporter{}, o: o}
	_, err = l.extract(c.ctx, file, dir)
	return err
}

// remakeLayer removes an unpacked layer, which nobody may use, and unpacks its blob again if there is one.
func (c *checker) remakeLayer(l placed, blob ocispec.Descriptor) error {
	r, err := c.store.beginRemoval(c.ctx, c.needs)
	if err != nil {
		return err
	}
	if r.isMounted(l.diffID) {
		return errors.Join(errors.New("a running container has it: stop that first"), r.end())
	}
	err = r.take(l.dir, "layer-"+fileName(l.diffID))
	if err = errors.Join(err, r.end()); err != nil || blob.Digest == "" || c.broken[blob.Digest] || !c.store.hasBlob(blob) {
		return err
	}
	again := &layer{store: c.store, source: nothing{}, d: blob, diffID: l.diffID, report: &reporter{}, o: c.store.unpackOptions()}
	return again.ensure(c.ctx)
}

// isMounted tells whether a container that runs, or a process that is about to start one, has a layer.
func (r *removal) isMounted(diffID digest.Digest) bool {
	if r.noted[layerKey(diffID)] {
		return true
	}
	return slices.ContainsFunc(r.needs.Users, func(u User) bool { return u.Running && slices.Contains(u.DiffIDs, diffID) })
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
		return c.found("image", imageName(entry), fmt.Sprintf("its manifest or configuration is missing or damaged: %v", err),
			func() error { return c.forget(entry) })
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
		return c.found("image", imageName(entry), fmt.Sprintf("%d blobs of layers are missing, so that it can be run but not pushed or saved; pull it again", lacks), nil)
	}
	return nil
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
