package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/pack"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

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
	if _, gone := os.Lstat(filepath.Join(l.dir, "diff")); errors.Is(gone, os.ErrNotExist) {
		return "its files are missing", nil
	}
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
