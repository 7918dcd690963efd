package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
)

// export makes the image of what the target has come to.
func (b *builder) export(ctx context.Context, st *state) (img *rootfs.Image, err error) {
	step := b.report.plan("exporting to image")
	step.start()
	defer func() { step.end(err, false) }()
	if b.spec.Squash {
		if err := b.squash(ctx, st, step); err != nil {
			return nil, fmt.Errorf("squash: %w", err)
		}
	}
	config, err := b.config(st)
	if err != nil {
		return nil, err
	}
	if b.spec.Loose {
		return loose(st, config)
	}
	return b.store.CreateImage(ctx, rootfs.NewImage{Base: st.base, Layers: st.layers, Config: config, Names: b.spec.Names})
}

// config is the image's configuration.
func (b *builder) config(st *state) (json.RawMessage, error) {
	image := st.image
	created := b.now()
	if b.spec.SourceDateEpoch == nil && st.made != nil {
		created = *st.made // so that the same layers give the same image
	}
	image.Created = &created
	if len(b.spec.Labels) > 0 {
		labels := maps.Clone(image.Config.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, b.spec.Labels)
		image.Config.Labels = labels
	}
	if p, err := platforms.Parse(st.platform); err == nil && b.spec.Platform != "" {
		image.OS, image.Architecture, image.Variant = p.OS, p.Architecture, p.Variant
	}
	for i := range image.History {
		if image.History[i].Created == nil {
			image.History[i].Created = &created
		}
	}
	return marshal(image)
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) (json.RawMessage, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(text.Bytes()), err
}

// loose is an image that is not in the store.
func loose(st *state, config json.RawMessage) (*rootfs.Image, error) {
	img := &rootfs.Image{Name: "build", Layers: st.lowers, RawConfig: config}
	if err := json.Unmarshal(config, &img.Config); err != nil {
		return nil, err
	}
	img.Config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: st.chain}
	return img, nil
}
