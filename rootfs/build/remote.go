package build

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
)

// A cache in a registry is an image: its layers are those of steps, in no particular order, and its configuration says which
// belongs to which key.

// cacheConfig is the configuration of such an image.
type cacheConfig struct {
	ocispec.Image
	Cache *cacheList `json:"run.bivouac.cache"`
}

// cacheList are steps.
type cacheList struct {
	Version int           `json:"version"`
	Entries []remoteEntry `json:"entries"`
}

// remoteEntry is an [Entry] with its key.
type remoteEntry struct {
	Key string `json:"key"`
	Entry
}

// planImports numbers what importCaches does.
func (b *builder) planImports() {
	for _, ref := range b.spec.CacheFrom {
		b.imports = append(b.imports, b.report.plan("importing cache from "+printable(ref)))
	}
}

// importCaches takes steps of registries into the cache. What cannot be had is warned of: it only costs time.
func (b *builder) importCaches(ctx context.Context) error {
	for i, ref := range b.spec.CacheFrom {
		step := b.imports[i]
		step.start()
		err := b.importCache(ctx, step, ref)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			step.warn("%s", oneLine(err))
		}
		step.end(nil, false)
	}
	return nil
}

func (b *builder) importCache(ctx context.Context, step *step, ref string) error {
	img, err := b.worker.Pull(ctx, ref, platforms.FormatAll(b.platform), step.transfer)
	if err != nil {
		return err
	}
	var config cacheConfig
	if err := json.Unmarshal(img.RawConfig, &config); err != nil || config.Cache == nil {
		return fmt.Errorf("%s is no cache of builds: push one with --cache-to", ref)
	}
	if config.Cache.Version != keyVersion {
		return fmt.Errorf("the cache %s is of another version, %d", ref, config.Cache.Version)
	}
	for _, e := range config.Cache.Entries {
		if err := b.adopt(e); err != nil {
			return err
		}
	}
	return nil
}

// adopt makes a step of a registry one of ours, if its layer came along and there is none yet.
func (b *builder) adopt(r remoteEntry) error {
	if !isKey(r.Key) {
		return fmt.Errorf("read cache: %q is no key", r.Key)
	}
	if known, _, err := findEntry(b.store, r.Key); known != nil || err != nil {
		return err
	}
	e := r.Entry
	e.Key = r.Key
	if e.DiffID != "" {
		if _, ok, err := b.store.UseLayer(e.layer()); !ok || err != nil {
			return err
		}
	}
	return writeEntry(b.store, &e)
}

// exportCaches pushes all steps of this build.
func (b *builder) exportCaches(ctx context.Context) error {
	if len(b.spec.CacheTo) == 0 {
		return nil
	}
	img, err := b.cacheImage(ctx)
	if err != nil {
		return fmt.Errorf("export cache: %w", err)
	}
	for _, ref := range b.spec.CacheTo {
		step := b.report.plan("exporting cache to " + printable(ref))
		step.start()
		err := b.worker.Push(ctx, img, ref, step.transfer)
		step.end(err, false)
		if err != nil {
			return fmt.Errorf("export cache: %w", err)
		}
	}
	return nil
}

// cacheImage makes the image that a cache in a registry is.
func (b *builder) cacheImage(ctx context.Context) (*rootfs.Image, error) {
	var layers []rootfs.Layer
	list := &cacheList{Version: keyVersion}
	for _, e := range b.usedEntries() {
		list.Entries = append(list.Entries, remoteEntry{e.Key, *e})
		if l := e.layer(); !l.Empty && !slices.ContainsFunc(layers, func(o rootfs.Layer) bool { return o.DiffID == l.DiffID }) {
			layers = append(layers, l)
		}
	}
	config := cacheConfig{Cache: list}
	config.Platform = b.platform
	text, err := marshal(config)
	if err != nil {
		return nil, err
	}
	return b.store.CreateImage(ctx, rootfs.NewImage{Layers: layers, Config: text})
}

// usedEntries are the steps of this build, in the order of their keys.
func (b *builder) usedEntries() []*Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries := slices.Clone(b.used)
	slices.SortFunc(entries, func(x, y *Entry) int { return strings.Compare(x.Key, y.Key) })
	return slices.CompactFunc(entries, func(x, y *Entry) bool { return x.Key == y.Key })
}
