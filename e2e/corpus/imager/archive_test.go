package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestArchiveTree(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	old := epoch.Add(-time.Hour)
	if err := os.Mkdir(filepath.Join(dir, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "old"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := archiveTree(dir, path); err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	if h := got["file"]; h == nil || !h.ModTime.Equal(epoch) || h.Size != 7 {
		t.Errorf("file: %+v", h)
	}
	if h := got["link"]; h == nil || h.Typeflag != tar.TypeLink || h.Linkname != "file" {
		t.Errorf("link: %+v", h)
	}
	if h := got["old/"]; h == nil || !h.ModTime.Equal(old) {
		t.Errorf("old: %+v", h)
	}
}

// An odd layer is a whole archive, with the two blocks of zeros at its end that tar wants.
func TestArchiveEntries(t *testing.T) {
	for _, o := range oddities() {
		for _, entries := range o.layers {
			data, err := archiveEntries(entries)
			if err != nil {
				t.Fatalf("%s: %v", o.tag, err)
			}
			if !bytes.HasSuffix(data, make([]byte, 1024)) {
				t.Errorf("%s: the archive has no end", o.tag)
			}
		}
	}
}

func read(t *testing.T, path string) map[string]*tar.Header {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	headers := map[string]*tar.Header{}
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers[header.Name] = header
	}
}
