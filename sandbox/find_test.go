package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

// fakeGo puts a go command that fails with a text alone on $PATH.
func fakeGo(t *testing.T, says string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\nprintf '%s\\n' \"$SAYS\" >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("BIVOUAC", "")
	t.Setenv("SAYS", says)
}

func TestAToolThatCannotBeBuiltSaysWhy(t *testing.T) {
	for says, want := range map[string][]string{
		"# runtime/cgo\ncgo: C compiler \"gcc\" not found": {`C compiler "gcc" not found`, "a C compiler such as gcc", "$BIVOUAC"},
		`go: no such tool "bivouac"`:                       {"not a tool of this Go module", "go get -tool"},
	} {
		fakeGo(t, says)
		_, err := sandbox.Start(t.Context(), sandbox.Options{})
		if sandbox.CodeOf(err) != sandbox.CodeProtocol {
			t.Fatalf("%s: got %v", says, err)
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", says, err, part)
			}
		}
	}
}
