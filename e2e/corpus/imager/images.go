package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// refName is the annotation that holds the tag of an image in a layout.
const refName = "org.opencontainers.image.ref.name"

// writeImages composes images from the layers in dir, and writes them to the layouts of these names below layouts. That of
// busybox comes before odd.
func writeImages(dir, layouts string, names []string) error {
	b := builder{dir: dir, layers: map[string]v1.Layer{}}
	for _, s := range specs {
		if !slices.Contains(names, s.layout) {
			continue
		}
		image, err := b.image(s)
		if err != nil {
			return fmt.Errorf("compose %s:%s: %w", s.layout, s.tag, err)
		}
		if err := appendImage(layouts, s.layout, s.tag, image); err != nil {
			return err
		}
	}
	if slices.Contains(names, "busybox") {
		if err := b.writeIndexes(layouts); err != nil {
			return err
		}
	}
	if slices.Contains(names, "odd") {
		return writeOdd(layouts)
	}
	return nil
}

func appendImage(layouts, name, tag string, image v1.Image) error {
	path, err := openLayout(filepath.Join(layouts, name))
	if err != nil {
		return err
	}
	if err := path.AppendImage(image, tagged(tag)); err != nil {
		return fmt.Errorf("write %s:%s: %w", name, tag, err)
	}
	return nil
}

func openLayout(dir string) (layout.Path, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	}
	return layout.FromPath(dir)
}

func tagged(tag string) layout.Option {
	return layout.WithAnnotations(map[string]string{refName: tag})
}

// A builder composes images from the archives in dir. It compresses a layer once, however many images have it.
type builder struct {
	dir    string
	layers map[string]v1.Layer
}

func (b builder) image(s spec) (v1.Image, error) {
	image := emptyOCI()
	if s.docker {
		image = empty.Image
	}
	for _, name := range s.layers {
		layer, err := b.layer(name, s.docker)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: history(name)})
		if err != nil {
			return nil, err
		}
	}
	return configure(image, s.config, s.arch)
}

func emptyOCI() v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
}

func history(layer string) v1.History {
	return v1.History{CreatedBy: "layer " + layer, Created: v1.Time{Time: epoch}}
}

// configure gives image a configuration and a platform: linux on arch, amd64 if that is empty.
func configure(image v1.Image, config v1.Config, arch string) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Config, file.Created = config, v1.Time{Time: epoch}
	file.OS, file.Architecture = "linux", "amd64"
	if arch == "arm64" {
		file.Architecture, file.Variant = "arm64", "v8"
	}
	return mutate.ConfigFile(image, file)
}

// layer returns the layer of a name as in spec.layers.
func (b builder) layer(name string, docker bool) (v1.Layer, error) {
	key := fmt.Sprint(name, docker)
	if layer, ok := b.layers[key]; ok {
		return layer, nil
	}
	archive, encoding, _ := strings.Cut(name, ":")
	layer, err := openLayer(filepath.Join(b.dir, archive+".tar"), encoding, docker)
	b.layers[key] = layer
	return layer, err
}

func openLayer(archive, encoding string, docker bool) (v1.Layer, error) {
	mediaType := types.OCILayer
	algorithm := compression.GZip
	switch {
	case encoding == "none":
		data, err := os.ReadFile(archive)
		return static.NewLayer(data, types.OCIUncompressedLayer), err
	case encoding == "zstd":
		mediaType, algorithm = types.OCILayerZStd, compression.ZStd
	case docker:
		mediaType = types.DockerLayer
	}
	return tarball.LayerFromFile(archive, tarball.WithMediaType(mediaType), tarball.WithCompression(algorithm),
		tarball.WithCompressionLevel(6), tarball.WithCompressedCaching)
}
