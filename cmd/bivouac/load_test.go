package main

import (
	"path/filepath"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestInputThatIsNotThere(t *testing.T) {
	if _, err := openInput(filepath.Join(t.TempDir(), "none"), "load images"); sandbox.CodeOf(err) != sandbox.CodeNotFound {
		t.Errorf("%v, %v", sandbox.CodeOf(err), err)
	}
}
