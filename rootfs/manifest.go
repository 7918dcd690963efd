package rootfs

import (
	"encoding/json"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's schema 2 and 1, beside OCI's.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList         = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	dockerSchema1      = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1JWS   = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Limits of what is read into memory, in bytes: registries refuse larger ones.
const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
	maxLayers   = 1000 // overlayfs takes 500
)

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

func isConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == dockerConfig
}

// isForeign is true for layers that registries may leave to other servers. OCI has deprecated its own types of them.
func isForeign(mediaType string) bool {
	return mediaType == dockerForeignLayer || slices.Contains([]string{
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	}, mediaType)
}

// sniff returns the media type of a manifest or index: its own word if it has one, else what its fields make it,
// else what the server called it.
func sniff(content []byte, served string) (string, error) {
	var fields struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(content, &fields); err != nil {
		return "", fail(BadImage, "", "read manifest: %w", err)
	}
	switch {
	case fields.SchemaVersion == 1:
		return dockerSchema1, nil
	case fields.MediaType != "":
		return fields.MediaType, nil
	case fields.Config != nil && fields.Manifests != nil:
		return "", fail(BadImage, "", "read manifest: it is an index and an image manifest at once") // CVE-2021-41190
	case fields.Config != nil:
		return ocispec.MediaTypeImageManifest, nil
	case fields.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	}
	return served, nil
}

func parseIndex(content []byte) (ocispec.Index, error) {
	var index ocispec.Index
	if err := json.Unmarshal(content, &index); err != nil {
		return index, fail(BadImage, "", "read image index: %w", err)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d); err != nil {
			return index, err
		}
	}
	return index, nil
}

func parseManifest(content []byte) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fail(BadImage, "", "read image manifest: %w", err)
	}
	if !isConfig(m.Config.MediaType) {
		return m, fail(BadImage, "only container images can be used",
			"read image manifest: its configuration is of type %q", m.Config.MediaType)
	}
	if len(m.Layers) > maxLayers {
		return m, fail(TooLarge, "", "read image manifest: it has %d layers, more than %d", len(m.Layers), maxLayers)
	}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if err := checkDescriptor(d); err != nil {
			return m, err
		}
	}
	return m, nil
}

// checkDescriptor makes a digest safe to be used as a file name, and its algorithm known.
func checkDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fail(BadImage, "", "read image manifest: digest %q: %w", d.Digest, err)
	}
	if d.Size < 0 {
		return fail(BadImage, "", "read image manifest: %s has the size %d", d.Digest, d.Size)
	}
	return nil
}

// parseConfig reads the configuration of an image with so many layers.
func parseConfig(content []byte, layers int) (ocispec.Image, error) {
	var config ocispec.Image
	if err := json.Unmarshal(content, &config); err != nil {
		return config, fail(BadImage, "", "read image configuration: %w", err)
	}
	if len(config.RootFS.DiffIDs) != layers {
		return config, fail(BadImage, "", "read image configuration: it names %d layers, its manifest %d",
			len(config.RootFS.DiffIDs), layers)
	}
	for _, id := range config.RootFS.DiffIDs {
		if err := id.Validate(); err != nil {
			return config, fail(BadImage, "", "read image configuration: diff ID %q: %w", id, err)
		}
	}
	return config, nil
}

// verify compares content with its digest and size.
func verify(content []byte, d ocispec.Descriptor) error {
	if got := d.Digest.Algorithm().FromBytes(content); got != d.Digest {
		return mismatch(d.Digest, got)
	}
	if d.Size != int64(len(content)) && d.Size != 0 {
		return fail(DigestMismatch, "", "check %s: it has %d bytes instead of %d", d.Digest, len(content), d.Size)
	}
	return nil
}

func mismatch(want, got digest.Digest) error {
	return fail(DigestMismatch, "pull again; if that repeats, the registry or a proxy before it is broken",
		"check %s: the content has the digest %s", want, got)
}
