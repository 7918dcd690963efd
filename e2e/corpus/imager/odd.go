package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeOdd adds the odd images to layouts.
func writeOdd(layouts string) error {
	base, err := busybox(layouts)
	if err != nil {
		return fmt.Errorf("open busybox: %w", err)
	}
	for _, o := range oddities() {
		image, err := o.image(base)
		if err != nil {
			return fmt.Errorf("compose odd:%s: %w", o.tag, err)
		}
		if err := appendImage(layouts, "odd", o.tag, image); err != nil {
			return err
		}
	}
	return nil
}

func busybox(layouts string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(filepath.Join(layouts, "busybox"))
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if d.Annotations[refName] == "latest" {
			return index.Image(d.Digest)
		}
	}
	return nil, fmt.Errorf("no tag latest in %s/busybox", layouts)
}

func (o oddity) image(base v1.Image) (v1.Image, error) {
	addenda := make([]mutate.Addendum, 0, len(o.layers))
	for _, entries := range o.layers {
		data, err := archiveEntries(entries)
		if err != nil {
			return nil, err
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		addenda = append(addenda, mutate.Addendum{Layer: layer, History: history("odd " + o.tag)})
	}
	return mutate.Append(base, addenda...)
}

func archiveEntries(entries []entry) ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, e := range entries {
		e.Format, e.ModTime, e.Size = tar.FormatPAX, epoch, int64(len(e.content))
		if err := archive.WriteHeader(&e.Header); err != nil {
			return nil, fmt.Errorf("archive %s: %w", e.Name, err)
		}
		if _, err := io.WriteString(archive, e.content); err != nil {
			return nil, fmt.Errorf("archive %s: %w", e.Name, err)
		}
	}
	err := archive.Close()
	return buffer.Bytes(), err
}
