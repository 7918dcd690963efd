package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
)

// push copies the tagged images of every layout below layouts, a list of directories, to a registry, byte for byte. The
// repository has the name of the layout, without -v2s2.
func push(layouts, address string) error {
	var files []string
	for _, dir := range filepath.SplitList(layouts) {
		found, err := filepath.Glob(filepath.Join(dir, "*", "index.json"))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("push images: no layouts in %s", dir)
		}
		files = append(files, found...)
	}
	var group errgroup.Group
	for _, file := range files {
		group.Go(func() error {
			dir := filepath.Dir(file)
			repository := address + "/" + strings.TrimSuffix(filepath.Base(dir), "-v2s2")
			if err := pushLayout(dir, repository); err != nil {
				return fmt.Errorf("push to %s: %w", repository, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func pushLayout(dir, repository string) error {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		tag, err := name.NewTag(repository + ":" + d.Annotations[refName])
		if err != nil {
			return err
		}
		if err := pushImage(tag, index, d); err != nil {
			return err
		}
	}
	return nil
}

func pushImage(tag name.Tag, index v1.ImageIndex, d v1.Descriptor) error {
	if d.MediaType.IsIndex() {
		child, err := index.ImageIndex(d.Digest)
		if err != nil {
			return err
		}
		return remote.WriteIndex(tag, child)
	}
	image, err := index.Image(d.Digest)
	if err != nil {
		return err
	}
	return remote.Write(tag, image)
}
