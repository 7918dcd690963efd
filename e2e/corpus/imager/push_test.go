package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestPushManyDirectories(t *testing.T) {
	server := httptest.NewServer(memory.New())
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	first, second := t.TempDir(), t.TempDir()
	for dir, layout := range map[string]string{first: "one", second: "two-v2s2"} {
		image, err := configure(emptyOCI(), v1.Config{}, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := appendImage(dir, layout, "tag", image); err != nil {
			t.Fatal(err)
		}
	}
	if err := push(first+string(filepath.ListSeparator)+second, address); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one:tag", "two:tag"} {
		tag, err := name.NewTag(address + "/" + want)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Head(tag); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := push(first+string(filepath.ListSeparator)+t.TempDir(), address); err == nil {
		t.Error("a directory without layouts is taken")
	}
}
