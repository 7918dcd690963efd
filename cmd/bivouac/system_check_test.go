package main

import (
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestTellCheckCounts(t *testing.T) {
	var out strings.Builder
	found := &sandbox.StoreCheck{Checked: 2, Problems: []sandbox.StoreProblem{{Kind: "blob", Name: "a", Text: "it is\nbad"}}}
	err := tellCheck(&out, found, false)
	if want := "blob a: it is bad\n2 checked, 1 problem, 0 repaired\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "the store has 1 problem left;") {
		t.Error(err)
	}
}
