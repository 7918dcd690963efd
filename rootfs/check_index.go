package rootfs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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
