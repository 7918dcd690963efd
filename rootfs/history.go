package rootfs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Step is one step in the making of an image.
type Step struct {
	Created   time.Time // zero if the image does not say
	CreatedBy string
	Comment   string
	Layer     digest.Digest // diff ID; empty if the step changed no file
	Size      int64         // bytes of the layer's files; of one that is not unpacked those of its blob
}

// History returns how the image was made, the last step first, and its id. Layers that the image's history does not tell of
// have steps that say no more than the layer. The arguments are [Store.Inspect]'s.
//
// Errors: those of Inspect.
func (s *Store) History(name, platform string) ([]Step, digest.Digest, error) {
	found, err := s.Inspect(name, platform)
	if err != nil {
		return nil, "", err
	}
	var steps []Step
	layers := s.sizedLayers(found)
	for _, h := range found.History {
		step := Step{CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			step.Created = *h.Created
		}
		if !h.EmptyLayer && len(layers) > 0 {
			step.Layer, step.Size = layers[0].Layer, layers[0].Size
			layers = layers[1:]
		}
		steps = append([]Step{step}, steps...)
	}
	for _, l := range layers {
		steps = append([]Step{l}, steps...)
	}
	return steps, found.ID, nil
}

// sizedLayers are steps with layers alone, lowest first.
func (s *Store) sizedLayers(i Inspection) (layers []Step) {
	for n, id := range i.RootFS.Layers {
		var blob ocispec.Descriptor
		if n < len(i.Blobs) {
			blob = i.Blobs[n]
		}
		layers = append(layers, Step{Layer: id, Size: s.layerSize(id, blob)})
	}
	return layers
}

// layerSize is the size of a layer's files as any id mapping has them unpacked, or else that of its blob.
func (s *Store) layerSize(diffID digest.Digest, blob ocispec.Descriptor) int64 {
	for _, mapping := range entries(s.path("layers")) {
		text, err := os.ReadFile(filepath.Join(s.path("layers", mapping.Name()), diffID.Algorithm().String(), diffID.Encoded(), "layer.json"))
		var info layerInfo
		if err == nil && json.Unmarshal(text, &info) == nil {
			return info.Size
		}
	}
	return blob.Size
}
