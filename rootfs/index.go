package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations of an entry of index.json, which is always an image manifest with its platform. Other tools find images
// by the first, whose value is the full name, as tags alone would not tell images apart; containerd uses the second.
// An image whose name has come to mean another one keeps its entry without the two.
const (
	annotationRef   = ocispec.AnnotationRefName
	annotationName  = "io.containerd.image.name"
	annotationRepo  = "run.bivouac.repository" // where it came from, without tag or digest
	annotationShort = "run.bivouac.short"      // the short name that registries.conf turned into the full one
	annotationRoot  = "run.bivouac.root"       // digest of the index that the name stands for, if it does for one
	annotationAsked = "run.bivouac.platform"   // platform for which it was chosen, if another one than its own
	annotationFrom  = "run.bivouac.source"     // archive or layout that it was imported from
	annotationStamp = "run.bivouac.stamp"      // that file's identity at that time
	annotationLocal = "run.bivouac.local"      // set while no registry is known to have it under the name
)

// index reads index.json. Without a file the store is empty.
func (s *Store) index() (ocispec.Index, error) {
	path := s.path(ocispec.ImageIndexFile)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, s.full(fmt.Errorf("read store: %w", err))
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return index, fail(BadConfig, "remove it and pull again", "read store %s: %w", path, err)
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return checkDescriptor(d) != nil })
	return index, nil
}

// register makes entry the image of its name and platform.
func (s *Store) register(ctx context.Context, entry ocispec.Descriptor) error {
	return s.edit(ctx, func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) { return replace(entries, entry), nil })
}

// edit changes the entries while nobody else does. They are f's own to change; where they come back as they were, nothing is
// written.
func (s *Store) edit(ctx context.Context, f func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error)) error {
	lock, err := s.lock(ctx, "index", nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	index, err := s.index()
	if err != nil {
		return err
	}
	before := slices.Clone(index.Manifests)
	if index.Manifests, err = f(index.Manifests); err != nil {
		return err
	}
	if slices.EqualFunc(before, index.Manifests, sameEntry) {
		return nil
	}
	return s.writeIndex(index)
}

func (s *Store) writeIndex(index ocispec.Index) error {
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(index); err != nil {
		return err
	}
	step("index about to change")
	return s.writeFile(ocispec.ImageIndexFile, content.Bytes())
}

// replace returns the entries with the new one. Tools that take the first entry of a name find this machine's.
func replace(entries []ocispec.Descriptor, entry ocispec.Descriptor) []ocispec.Descriptor {
	var kept []ocispec.Descriptor
	at := -1
	for _, old := range entries {
		if sameImage(old, entry) {
			if old.Digest == entry.Digest || sourceOf(entry) != "" {
				continue
			}
			old = unnamed(old)
		}
		if at < 0 && nameOf(old) != "" && nameOf(old) == nameOf(entry) && native(entry) {
			at = len(kept)
		}
		kept = append(kept, old)
	}
	if at < 0 {
		at = len(kept)
	}
	return dropShadowed(slices.Insert(kept, at, entry))
}

// sameImage is true for two meanings of one name on one platform.
func sameImage(a, b ocispec.Descriptor) bool {
	return nameOf(a) == nameOf(b) && sourceOf(a) == sourceOf(b) && platformOf(a) == platformOf(b)
}

// unnamed is what stays of an entry whose name is taken.
func unnamed(d ocispec.Descriptor) ocispec.Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	for _, key := range []string{annotationRef, annotationName, annotationShort, annotationAsked} {
		delete(d.Annotations, key)
	}
	return d
}

// dropShadowed removes nameless entries of images that also have a name.
func dropShadowed(entries []ocispec.Descriptor) []ocispec.Descriptor {
	named := map[string]bool{}
	for _, d := range entries {
		if nameOf(d) != "" || sourceOf(d) != "" {
			named[d.Digest.String()] = true
		}
	}
	return slices.DeleteFunc(entries, func(d ocispec.Descriptor) bool {
		return nameOf(d) == "" && sourceOf(d) == "" && named[d.Digest.String()]
	})
}

func sameEntry(a, b ocispec.Descriptor) bool {
	return a.Digest == b.Digest && maps.Equal(a.Annotations, b.Annotations)
}

// nameOf is the full name of an entry. Other tools may have written only the second annotation.
func nameOf(d ocispec.Descriptor) string {
	if name := d.Annotations[annotationName]; name != "" {
		return name
	}
	return d.Annotations[annotationRef]
}

func sourceOf(d ocispec.Descriptor) string { return d.Annotations[annotationFrom] }

// rootOf is the digest that the registry gives for the name.
func rootOf(d ocispec.Descriptor) string {
	if root := d.Annotations[annotationRoot]; root != "" {
		return root
	}
	return d.Digest.String()
}

func platformOf(d ocispec.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return platforms.FormatAll(platforms.Normalize(*d.Platform))
}

func native(d ocispec.Descriptor) bool {
	return d.Platform != nil && platforms.OnlyStrict(hostPlatform()).Match(platforms.Normalize(*d.Platform))
}
