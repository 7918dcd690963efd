package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// importImage makes an image of the archive that comes by the message's pipe.
func (s *server) importImage(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.ImportRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	if len(m.Files) != 1 {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "import an image: %d files instead of a pipe", len(m.Files))}
	}
	names, err := newNames(r.Name)
	if err != nil {
		return outcome{err: err}
	}
	config, err := importConfig(&r, time.Now().UTC()) // before the work: it may refuse
	if err != nil {
		return outcome{err: err}
	}
	layer, err := k.store.ImportLayer(ctx, m.Files[0])
	if err != nil {
		return outcome{err: fmt.Errorf("import an image: %w", err)}
	}
	image, err := k.store.CreateImage(ctx, rootfs.NewImage{Layers: []rootfs.Layer{layer}, Config: config, Names: names})
	if err != nil {
		return outcome{err: err}
	}
	k.emitImage("import", image)
	return outcome{body: imageInfo(image)}
}

// importConfig is the configuration of an image with one layer.
func importConfig(r *sandbox.ImportRequest, now time.Time) (json.RawMessage, error) {
	platform, err := importPlatform(r.Platform)
	if err != nil {
		return nil, err
	}
	changed, err := rootfs.ChangeConfig(nil, r.Changes)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Created time.Time `json:"created"`
		ocispec.Platform
		Config  json.RawMessage   `json:"config"`
		History []ocispec.History `json:"history"`
	}{now, platform, changed, []ocispec.History{{Created: &now, Comment: cmp.Or(r.Message, "Imported by bivouac")}}})
}

func importPlatform(text string) (ocispec.Platform, error) {
	if text == "" {
		return platforms.DefaultSpec(), nil
	}
	p, err := platforms.Parse(text)
	if err != nil {
		return p, sandbox.Errorf(sandbox.CodeNoPlatform, "read platform %q: %v", text, err).WithRemedy("write os/arch[/variant], as linux/arm64")
	}
	return p, nil
}
