package rootfs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Usage is what images take of the disk, in bytes as du(1) counts them.
type Usage struct {
	Images []ImageUsage
	Layers []LayerUsage
	// Size is what all images take together, Unused what of it those take that no container or snapshot needs.
	Size, Unused int64
	// Other is what belongs to no image and nobody needs, or needs only for a moment.
	Other int64
	// Spare are blobs and layers that no image has.
	Spare map[digest.Digest]int64
}

// ImageUsage is an image's part: Unique is what goes with it, Shared what others need too.
type ImageUsage struct {
	ID             digest.Digest
	Names          []string // as Docker shows them; none of a nameless one
	Made           time.Time
	Shared, Unique int64
	Users          []User
}

// LayerUsage is one layer's part.
type LayerUsage struct {
	DiffID digest.Digest
	Blob   int64 // as it came
	Files  int64 // as they are unpacked, for all id mappings
	Images int   // that have it
}

// Usage measures the store. What changes meanwhile is measured as it was or as it is.
//
// Errors: those of the index and of needs.
func (s *Store) Usage(needs NeedsFunc) (Usage, error) {
	u := &measure{removal: removal{store: s}, sizes: map[string]int64{}, owners: map[string]map[digest.Digest]bool{}}
	index, err := s.index()
	if err == nil {
		u.noted, err = s.noted()
	}
	if err == nil {
		u.needs, err = needs()
	}
	if err != nil {
		return Usage{}, err
	}
	u.weighAll()
	for _, entry := range index.Manifests {
		u.add(entry)
	}
	u.share()
	u.others(index)
	return u.usage, nil
}

// measure is the state of one Usage call.
type measure struct {
	removal
	usage  Usage
	sizes  map[string]int64                  // of parts, by their keys
	owners map[string]map[digest.Digest]bool // images that have a part
	layers []digest.Digest
	blobs  map[digest.Digest]digest.Digest // of layers
}

func (m *measure) weighAll() {
	for d := range m.store.allBlobs() {
		m.sizes[blobKey(d)] = diskUsage(m.store.blobPath(d))
	}
	for l := range m.store.allLayers() {
		m.sizes[layerKey(l.diffID)] += weighLayer(l.dir)
	}
	m.blobs = map[digest.Digest]digest.Digest{}
}

// weighLayer remembers what a layer takes beside it: layers never change.
func weighLayer(dir string) int64 {
	note := filepath.Join(dir, "usage")
	if text, err := os.ReadFile(note); err == nil {
		if size, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return size
		}
	}
	size := diskUsage(dir)
	if _, err := os.Lstat(filepath.Join(dir, "layer.json")); err == nil {
		_ = os.WriteFile(note, []byte(strconv.FormatInt(size, 10)), 0o644) // the next one measures again
	}
	return size
}

// add counts an entry's parts in for its image.
func (m *measure) add(entry ocispec.Descriptor) {
	manifest, img, err := m.store.read(entry)
	if err != nil {
		return
	}
	for _, key := range m.store.partsOf(entry) {
		if m.owners[key] == nil {
			m.owners[key] = map[digest.Digest]bool{}
		}
		m.owners[key][img.ID] = true
	}
	for i, id := range img.Config.RootFS.DiffIDs {
		if _, known := m.blobs[id]; !known {
			m.blobs[id] = manifest.Layers[i].Digest
			m.layers = append(m.layers, id)
		}
	}
	m.image(entry, img)
}

func (m *measure) image(entry ocispec.Descriptor, img *Image) {
	at := -1
	for i := range m.usage.Images {
		if m.usage.Images[i].ID == img.ID {
			at = i
		}
	}
	if at < 0 {
		u := ImageUsage{ID: img.ID, Users: m.usersOf(img.ID, entry.Digest)}
		if img.Config.Created != nil {
			u.Made = *img.Config.Created
		}
		m.usage.Images = append(m.usage.Images, u)
		at = len(m.usage.Images) - 1
	}
	if named(entry) {
		m.usage.Images[at].Names = append(m.usage.Images[at].Names, familiarOf(entry))
	}
}

// share divides the parts among the images.
func (m *measure) share() {
	for key, owners := range m.owners {
		m.usage.Size += m.sizes[key]
		if !m.anyUsed(owners) {
			m.usage.Unused += m.sizes[key]
		}
		for i := range m.usage.Images {
			u := &m.usage.Images[i]
			switch {
			case !owners[u.ID]:
			case len(owners) > 1:
				u.Shared += m.sizes[key]
			default:
				u.Unique += m.sizes[key]
			}
		}
	}
	for _, id := range m.layers {
		m.usage.Layers = append(m.usage.Layers, LayerUsage{DiffID: id, Blob: m.sizes[blobKey(m.blobs[id])],
			Files: m.sizes[layerKey(id)], Images: len(m.owners[layerKey(id)])})
	}
}

func (m *measure) anyUsed(images map[digest.Digest]bool) bool {
	for _, u := range m.usage.Images {
		if images[u.ID] && len(u.Users) > 0 {
			return true
		}
	}
	return false
}

// others adds up what no image has.
func (m *measure) others(index ocispec.Index) {
	live := m.live(index)
	m.usage.Spare = map[digest.Digest]int64{}
	for key, size := range m.sizes {
		if !live[key] {
			m.usage.Other += size
		}
		if _, text, ok := strings.Cut(key, " "); ok && m.owners[key] == nil {
			m.usage.Spare[digest.Digest(text)] += size
		}
	}
	for _, dir := range []string{"partial", "tmp"} {
		m.usage.Other += contentUsage(m.store.path(dir))
	}
	for _, key := range entries(m.store.path("layers")) {
		m.usage.Other += contentUsage(m.store.path("layers", key.Name(), "tmp"))
	}
}

// contentUsage is what the files of a directory take, but not itself.
func contentUsage(dir string) (size int64) {
	for _, entry := range entries(dir) {
		size += diskUsage(filepath.Join(dir, entry.Name()))
	}
	return size
}
