package rootfs

import (
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Inspection is what is known about one image, with Docker's names for things.
type Inspection struct {
	ID           digest.Digest        `json:"Id"`
	RepoTags     []string             `json:"RepoTags"`
	RepoDigests  []string             `json:"RepoDigests"`
	Source       string               `json:"Source,omitempty"` // layout or archive that it was imported from
	Digest       digest.Digest        `json:"Digest"`           // of the manifest
	MediaType    string               `json:"MediaType"`        // of the manifest
	Created      *time.Time           `json:"Created,omitempty"`
	Author       string               `json:"Author,omitempty"`
	Architecture string               `json:"Architecture"`
	Variant      string               `json:"Variant,omitempty"`
	Os           string               `json:"Os"`
	Size         int64                `json:"Size"` // of the compressed layers and the configuration, in bytes
	Config       json.RawMessage      `json:"Config"`
	RootFS       RootFS               `json:"RootFS"`
	Blobs        []ocispec.Descriptor `json:"Blobs"` // the compressed layers, lowest first
	History      []ocispec.History    `json:"History,omitempty"`
	Annotations  map[string]string    `json:"Annotations,omitempty"` // of the manifest
}

// RootFS lists the diff IDs, lowest first.
type RootFS struct {
	Type   string          `json:"Type"`
	Layers []digest.Digest `json:"Layers"`
}

// Inspect returns the image of a name, or of an id or manifest digest of which at least the first characters are given.
// The platform chooses among images of one name; empty is the machine's, or another if there is only one. It needs no
// id mapping.
//
// Errors: NotFound, BadReference for an id that fits several images, NoPlatform.
func (s *Store) Inspect(name, platform string) (Inspection, error) {
	want, err := parsePlatform(platform)
	if err != nil {
		return Inspection{}, err
	}
	index, err := s.index()
	if err != nil {
		return Inspection{}, err
	}
	entry, err := s.lookUp(index, name, want)
	if err == nil && entry == nil && platform == "" {
		entry, err = s.lookUp(index, name, ocispec.Platform{})
	}
	if err != nil {
		return Inspection{}, err
	}
	if entry == nil {
		return Inspection{}, s.notHere(name)
	}
	return s.inspect(index, *entry)
}

func (s *Store) inspect(index ocispec.Index, entry ocispec.Descriptor) (Inspection, error) {
	manifest, img, err := s.read(entry)
	if err != nil {
		return Inspection{}, about(err, "inspect "+imageName(entry))
	}
	var raw struct {
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(img.RawConfig, &raw); err != nil {
		return Inspection{}, err
	}
	found := Inspection{ID: img.ID, Source: sourceOf(entry), Digest: entry.Digest, MediaType: entry.MediaType,
		Created: img.Config.Created, Author: img.Config.Author, Architecture: img.Config.Architecture,
		Variant: img.Config.Variant, Os: img.Config.OS, Size: compressedSize(manifest), Config: raw.Config,
		RootFS: RootFS{Type: img.Config.RootFS.Type, Layers: img.Config.RootFS.DiffIDs}, Blobs: manifest.Layers,
		History: img.Config.History, Annotations: manifest.Annotations}
	found.RepoTags, found.RepoDigests = otherNames(index, entry.Digest)
	return found, nil
}

// otherNames lists all names under which the store has a manifest, and under which a registry is known to have it.
func otherNames(index ocispec.Index, manifest digest.Digest) (tags, digests []string) {
	tags, digests = []string{}, []string{}
	for _, d := range index.Manifests {
		if d.Digest != manifest {
			continue
		}
		if named, err := splitName(nameOf(d)); err == nil && named.Tag != "" {
			tags = append(tags, named.familiarName()+":"+named.Tag)
		}
		if repo, err := splitName(d.Annotations[annotationRepo]); err == nil && d.Annotations[annotationLocal] == "" {
			digests = append(digests, repo.familiarName()+"@"+rootOf(d))
		}
	}
	return tags, digests
}

// lookUp returns nil if nothing fits. An empty platform fits any.
func (s *Store) lookUp(index ocispec.Index, name string, want ocispec.Platform) (*ocispec.Descriptor, error) {
	ref, err := ParseReference(name)
	for i, d := range index.Manifests {
		if err == nil && means(d, ref) && fits(d, want) {
			return &index.Manifests[i], nil
		}
	}
	return s.byID(index, name, want)
}

func (s *Store) notHere(name string) error {
	return fail(NotFound, "get it with `bivouac pull "+name+"`", "find image %s in store %s: there is none", name, s.dir)
}
