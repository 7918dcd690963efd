package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/go-archive"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unpackBusybox makes a root file system of the corpus's busybox, for those who take no image.
func unpackBusybox(corpus, dir string) error {
	image, err := findImage(filepath.Join(corpus, "oci", "busybox"), "latest")
	if err != nil {
		return err
	}
	for _, target := range []string{"dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(dir, target), 0o755); err != nil {
			return err
		}
	}
	files := mutate.Extract(image)
	defer files.Close()
	if err := archive.Untar(files, dir, &archive.TarOptions{NoLchown: true}); err != nil {
		return fmt.Errorf("unpack busybox: %w", err)
	}
	return nil
}

// findImage opens the image that has a tag in an OCI layout.
func findImage(dir, tag string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read index of %s: %w", dir, err)
	}
	for _, one := range manifest.Manifests {
		if one.Annotations[ocispec.AnnotationRefName] == tag {
			return index.Image(one.Digest)
		}
	}
	return nil, errors.New("no image with tag " + tag + " in " + dir)
}
