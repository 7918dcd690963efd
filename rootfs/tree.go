package rootfs

import (
	"cmp"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TreeImage is an image with its layers.
type TreeImage struct {
	ID       digest.Digest
	Names    []string // as people write them; none for one without a name
	Platform string
	Size     int64 // bytes of all layers
	Unique   int64 // bytes of the layers that no other image has
	Layers   []TreeLayer
}

// TreeLayer is one layer of an image, lowest first.
type TreeLayer struct {
	DiffID digest.Digest
	Size   int64 // bytes of its files; of one that is not unpacked those of its blob
	Blob   int64 // bytes of the blob
	// Shared are the ids of the other images that have it.
	Shared []digest.Digest
}

// Tree returns every image of the store once, with its layers and which images share them. Those that share most come one
// after the other. Images that another tool has damaged are left out.
func (s *Store) Tree() ([]TreeImage, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	var images []TreeImage
	users := map[digest.Digest][]digest.Digest{}
	for _, entry := range index.Manifests {
		manifest, img, err := s.read(entry)
		if err != nil {
			if missing(err) != nil {
				return nil, err
			}
			continue
		}
		at := slices.IndexFunc(images, func(i TreeImage) bool { return i.ID == img.ID })
		if at < 0 {
			at = len(images)
			images = append(images, s.treeImage(manifest, img))
			for _, l := range images[at].Layers {
				if !slices.Contains(users[l.DiffID], img.ID) {
					users[l.DiffID] = append(users[l.DiffID], img.ID)
				}
			}
		}
		if repo, tag := familiarParts(entry); nameOf(entry) != "" && tag != none {
			images[at].Names = append(images[at].Names, repo+":"+tag)
		}
	}
	for i := range images {
		images[i].share(users)
	}
	slices.SortStableFunc(images, func(a, b TreeImage) int { return slices.CompareFunc(a.Layers, b.Layers, compareLayers) })
	return images, nil
}

func (s *Store) treeImage(manifest ocispec.Manifest, img *Image) TreeImage {
	t := TreeImage{ID: img.ID, Platform: platformName(img.Config.Platform)}
	for i, id := range img.Config.RootFS.DiffIDs {
		l := TreeLayer{DiffID: id, Blob: manifest.Layers[i].Size}
		l.Size = s.layerSize(id, manifest.Layers[i])
		t.Layers = append(t.Layers, l)
		t.Size += l.Size
	}
	return t
}

func (t *TreeImage) share(users map[digest.Digest][]digest.Digest) {
	for i, l := range t.Layers {
		for _, id := range users[l.DiffID] {
			if id != t.ID {
				t.Layers[i].Shared = append(t.Layers[i].Shared, id)
			}
		}
		if t.Layers[i].Shared == nil {
			t.Unique += l.Size
		}
	}
}

func compareLayers(a, b TreeLayer) int { return cmp.Compare(a.DiffID, b.DiffID) }
