package build

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Entry is a step that need not be done again.
type Entry struct {
	// Key is a digest of all that the step's result depends on, 64 hexadecimal digits.
	Key string `json:"-"`
	// Text is the instruction.
	Text string `json:"text"`
	// DiffID and Blob are the layer's; empty if the step changed nothing.
	DiffID digest.Digest      `json:"diff_id,omitempty"`
	Blob   ocispec.Descriptor `json:"descriptor,omitzero"`
	// Size is that of the layer's files, in bytes.
	Size int64 `json:"size"`
	// Made is when the step was done, Used when it was last of use.
	Made time.Time `json:"made"`
	Used time.Time `json:"-"`
}

func (e *Entry) layer() rootfs.Layer {
	return rootfs.Layer{Descriptor: e.Blob, DiffID: e.DiffID, Size: e.Size, Empty: e.DiffID == ""}
}

func buildPath(s *rootfs.Store, elem ...string) string {
	return filepath.Join(append([]string{s.Dir(), "build"}, elem...)...)
}

const entrySuffix = ".json"

func entryPath(s *rootfs.Store, key string) string { return buildPath(s, "cache", key+entrySuffix) }

// isKey is true for what a file of the cache can be called.
func isKey(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 2*len(sum{})
}

func readEntry(s *rootfs.Store, key string) (*Entry, error) {
	content, err := os.ReadFile(entryPath(s, key))
	if err != nil {
		return nil, err
	}
	e := &Entry{Key: key}
	if err := json.Unmarshal(content, e); err != nil {
		return nil, fmt.Errorf("read cache entry %s: %w", key, err)
	}
	return e, nil
}

// findEntry returns the entry of a key with its layer's directory, if both are there; from then on the layer stays until the process
// ends. Damaged entries are none.
func findEntry(s *rootfs.Store, key string) (e *Entry, dir string, err error) {
	if e, err = readEntry(s, key); err != nil {
		return nil, "", nil
	}
	if e.DiffID != "" {
		var ok bool
		if dir, ok, err = s.UseLayer(e.layer()); err != nil || !ok {
			return nil, "", err
		}
	}
	now := time.Now()
	_ = os.Chtimes(entryPath(s, key), now, now) // for prune
	return e, dir, nil
}

func writeEntry(s *rootfs.Store, e *Entry) error {
	content, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return writeWhole(entryPath(s, e.Key), content)
}

// Entries returns all entries of the cache of steps, those of damaged files without a layer.
func Entries(s *rootfs.Store) ([]Entry, error) {
	found, err := os.ReadDir(buildPath(s, "cache"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the build cache: %w", err)
	}
	var entries []Entry
	for _, file := range found {
		key, ok := strings.CutSuffix(file.Name(), entrySuffix)
		if !ok || !isKey(key) {
			continue
		}
		e, err := readEntry(s, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			e = &Entry{Key: key, Text: "damaged"}
		}
		if info, err := file.Info(); err == nil {
			e.Used = info.ModTime()
		}
		entries = append(entries, *e)
	}
	return entries, nil
}

// RemoveEntry removes an entry of the cache of steps. Its layer stays until the store is pruned.
func RemoveEntry(s *rootfs.Store, key string) error {
	if !isKey(key) {
		return fmt.Errorf("remove cache entry %q: it is no key", key)
	}
	err := os.Remove(entryPath(s, key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cache entry: %w", err)
	}
	return nil
}

// PruneHashes removes what is remembered of contexts and other sources: it only saves time.
func PruneHashes(s *rootfs.Store) error {
	if err := os.RemoveAll(buildPath(s, "hashes")); err != nil {
		return fmt.Errorf("remove digests of contexts: %w", err)
	}
	return nil
}

// made is a step's result: one of the cache's, or a new one.
type made struct {
	entry  *Entry
	dir    string // of the layer; empty if nothing changed
	cached bool
}

// once returns the result for a key: that of an earlier build, of another one that is at it, or else what do makes; fresh asks for
// the latter.
func (b *builder) once(ctx context.Context, st *step, key string, fresh bool, do func() (rootfs.Layer, error)) (*made, error) {
	m, err := b.find(ctx, st, key, fresh, do)
	if err == nil {
		b.mu.Lock()
		b.used = append(b.used, m.entry)
		b.mu.Unlock()
	}
	return m, err
}

func (b *builder) find(ctx context.Context, st *step, key string, fresh bool, do func() (rootfs.Layer, error)) (*made, error) {
	if !fresh {
		if e, dir, err := findEntry(b.store, key); e != nil || err != nil {
			return &made{e, dir, true}, err
		}
	}
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer b.slots.Release(1)
	lock, err := b.store.Lock(ctx, "build-"+key, nil)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if !fresh {
		if e, dir, err := findEntry(b.store, key); e != nil || err != nil { // while we waited
			return &made{e, dir, true}, err
		}
	}
	st.start()
	layer, err := do()
	if err != nil {
		return nil, err
	}
	return b.remember(st, key, layer)
}

func (b *builder) remember(st *step, key string, layer rootfs.Layer) (*made, error) {
	e := &Entry{Key: key, Text: st.name, Size: layer.Size, Made: b.now()}
	dir := ""
	if !layer.Empty {
		e.DiffID, e.Blob = layer.DiffID, layer.Descriptor
		var ok bool
		var err error
		if dir, ok, err = b.store.UseLayer(layer); err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("bug: layer %s is not in the store after it was made", layer.DiffID)
		}
	}
	return &made{e, dir, false}, writeEntry(b.store, e)
}
