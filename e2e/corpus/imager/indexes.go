package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeIndexes adds busybox:multi, an index of two platforms, the foreign one first, with an attestation as BuildKit
// writes one, and busybox:arm64only, an index without the platform of the machine.
func (b builder) writeIndexes(layouts string) error {
	amd64, err := b.image(spec{layers: []string{"busybox-amd64"}, config: sh})
	if err != nil {
		return err
	}
	arm64, err := b.image(spec{layers: []string{"busybox-arm64"}, config: sh, arch: "arm64"})
	if err != nil {
		return err
	}
	statement, err := attestation(amd64)
	if err != nil {
		return fmt.Errorf("compose attestation: %w", err)
	}
	only := index(onPlatform(arm64, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}))
	multi := mutate.AppendManifests(only, onPlatform(amd64, v1.Platform{OS: "linux", Architecture: "amd64"}), statement)
	busybox, err := openLayout(filepath.Join(layouts, "busybox"))
	if err != nil {
		return err
	}
	if err := busybox.AppendIndex(multi, tagged("multi")); err != nil {
		return err
	}
	return busybox.AppendIndex(only, tagged("arm64only"))
}

func index(manifests ...mutate.IndexAddendum) v1.ImageIndex {
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), manifests...)
}

func onPlatform(image v1.Image, p v1.Platform) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p}}
}

// attestation returns the entry of an index for a statement about image. It is no image that could be run.
func attestation(image v1.Image) (mutate.IndexAddendum, error) {
	digest, err := image.Digest()
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	statement, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"digest": map[string]string{digest.Algorithm: digest.Hex}}},
	})
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	document, err := mutate.AppendLayers(emptyOCI(), static.NewLayer(statement, "application/vnd.in-toto+json"))
	entry := onPlatform(document, v1.Platform{OS: "unknown", Architecture: "unknown"})
	entry.Descriptor.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": digest.String(),
	}
	return entry, err
}
