package main

import (
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestWriteOdd(t *testing.T) {
	layouts := t.TempDir()
	base, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := appendImage(layouts, "busybox", "latest", base); err != nil {
		t.Fatal(err)
	}
	if err := writeOdd(layouts); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(layouts, "odd"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	if got := layersOf(t, index, "layers"); got != 127 {
		t.Errorf("odd:layers has %d layers", got)
	}
}

func layersOf(t *testing.T, index v1.ImageIndex, tag string) int {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		if d.Annotations[refName] != tag {
			continue
		}
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		return len(layers)
	}
	t.Fatalf("no tag %s", tag)
	return 0
}
