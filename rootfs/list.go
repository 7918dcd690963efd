package rootfs

import (
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Summary is one image of the store.
type Summary struct {
	Name       string        // full name; of imported images where from; of others repository and digest
	Repository string        // as Docker shows it, "alpine"; "<none>" if there is none
	Tag        string        // likewise
	Named      bool          // by a name, or by where it was imported from
	ID         digest.Digest // of the configuration
	Digest     digest.Digest // what the registry gives for the name: of the index, if it is for several platforms
	Platform   string        // os/arch[/variant]
	Created    time.Time     // zero if the image does not say
	Size       int64         // of the compressed layers and the configuration, in bytes
	Layers     int
	Labels     map[string]string
}

// List returns the images of the store in the order in which they came. It needs no id mapping. Images that another
// tool has damaged are left out.
func (s *Store) List() ([]Summary, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	var list []Summary
	for _, entry := range index.Manifests {
		manifest, img, err := s.read(entry)
		if err == nil {
			list = append(list, summarize(entry, manifest, img))
		} else if err := missing(err); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func summarize(entry ocispec.Descriptor, manifest ocispec.Manifest, img *Image) Summary {
	sum := Summary{Name: img.Name, ID: img.ID, Digest: digest.Digest(rootOf(entry)), Platform: platformName(img.Config.Platform),
		Size: compressedSize(manifest), Layers: len(manifest.Layers), Labels: img.Config.Config.Labels}
	sum.Repository, sum.Tag = familiarParts(entry)
	sum.Named = named(entry)
	if img.Config.Created != nil {
		sum.Created = *img.Config.Created
	}
	return sum
}

func compressedSize(manifest ocispec.Manifest) int64 {
	size := manifest.Config.Size
	for _, d := range manifest.Layers {
		size += d.Size
	}
	return size
}

const none = "<none>"

func familiarParts(entry ocispec.Descriptor) (repository, tag string) {
	name := nameOf(entry)
	if name == "" {
		name = entry.Annotations[annotationRepo]
	}
	named, err := splitName(name)
	if err != nil {
		return none, none
	}
	if nameOf(entry) == "" || named.Tag == "" {
		return named.familiarName(), none
	}
	return named.familiarName(), named.Tag
}

func platformName(p ocispec.Platform) string {
	parts := []string{p.OS, p.Architecture, p.Variant}
	return strings.TrimRight(strings.Join(parts, "/"), "/")
}
