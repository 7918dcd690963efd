package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

// triedIn is a try of which the view is a directory of the test's: what the command has left is below its own path there.
func triedIn(t *testing.T) (_ *tried, real, view string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, view = filepath.Join(root, "real"), filepath.Join(root, "view")
	if err := os.MkdirAll(filepath.Join(view, real), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	began, err := startOfTry()
	if err != nil {
		t.Fatal(err)
	}
	return &tried{view: os.DirFS(view), began: began, seen: &keeper.HostFiles{}}, real, filepath.Join(view, real)
}

func put(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTryChooses(t *testing.T) {
	tried, real, view := triedIn(t)
	put(t, "x", filepath.Join(real, "was-file"))
	if err := os.MkdirAll(filepath.Join(view, "was-file"), 0o755); err != nil {
		t.Fatal(err)
	}
	all := []sandbox.Change{
		{Path: real, Kind: "C"}, {Path: real + "/a", Kind: "A"}, {Path: real + "/a/b", Kind: "A"}, {Path: real + "/a/c", Kind: "A"},
		{Path: real + "/was-file", Kind: "C"}, {Path: real + "/was-file/in", Kind: "A"},
	}
	for pattern, want := range map[string][]string{
		"": {"", "/a", "/a/b", "/a/c", "/was-file", "/was-file/in"}, real + "/a/b": {"/a", "/a/b"}, real + "/a": {"/a", "/a/b", "/a/c"},
		real + "/*/[cd]": {"/a", "/a/c"}, real + "/was-file/in": {"/was-file", "/was-file/in"}, "/": {"", "/a", "/a/b", "/a/c", "/was-file", "/was-file/in"},
	} {
		c := &chooser{}
		if pattern != "" {
			var err error
			if c, err = newChooser([]string{pattern}); err != nil {
				t.Fatal(err)
			}
		}
		list, err := c.choose(tried, all)
		var got []string
		for _, change := range list {
			got = append(got, strings.TrimPrefix(change.Path, real))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v", pattern, got, err)
		}
	}
	for _, bad := range []string{"", "a[", "/nothing"} {
		c, err := newChooser([]string{bad})
		if err == nil {
			_, err = c.choose(tried, all)
		}
		if err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTryFailsInTheMiddleAndSaysWhatWasDone(t *testing.T) {
	tried, real, view := triedIn(t)
	put(t, "old", real+"/a", real+"/z")
	put(t, "new", view+"/a", view+"/b", view+"/z")
	step := func(name string, kind sandbox.ChangeKind) tryStep {
		s := tryStep{change: sandbox.Change{Path: real + "/" + name, Kind: kind}}
		var err error
		if s.now, err = tried.lstat(s.change.Path); err != nil {
			t.Fatal(err)
		}
		if s.old, err = lookAt(s.change.Path); err != nil {
			t.Fatal(err)
		}
		return s
	}
	steps := []tryStep{step("a", "C"), step("b", "A"), step("z", "C")}
	put(t, "mine", real+"/b") // since the plan
	stderr := captureStderr(t)
	err := tried.apply(steps)
	text := stderr()
	if err == nil || !strings.Contains(err.Error(), "1 of 3 changes were applied before") || !strings.Contains(err.Error(), real+"/b") {
		t.Errorf("got %v", err)
	}
	if text != "applied: C "+real+"/a\n" {
		t.Errorf("said %q", text)
	}
	for name, want := range map[string]string{"a": "new", "b": "mine", "z": "old"} {
		if got, _ := os.ReadFile(filepath.Join(real, name)); string(got) != want {
			t.Errorf("%s has %q", name, got)
		}
	}
	if left, _ := filepath.Glob(real + "/.bivouac-try-*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// captureStderr returns a function that ends it and returns what was said.
func captureStderr(t *testing.T) func() string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = f
	t.Cleanup(func() { os.Stderr = was })
	return func() string {
		os.Stderr = was
		text, _ := os.ReadFile(f.Name())
		return string(text)
	}
}

func TestTryShowsNoControlCharacters(t *testing.T) {
	tried, real, view := triedIn(t)
	name := "esc\x1b[31m\nname"
	put(t, "one\ntwo\n", filepath.Join(real, "text"))
	put(t, "one\n2\nthree\n", filepath.Join(view, "text"))
	put(t, "x\n", filepath.Join(view, name))
	put(t, strings.Repeat("x", maxCompared+1), filepath.Join(view, "large"))
	tried.changes = []sandbox.Change{{Path: real + "/" + name, Kind: "A"}, {Path: real + "/large", Kind: "A"}, {Path: real + "/text", Kind: "C"}}
	var list, stat, diff, rows bytes.Buffer
	for _, err := range []error{tried.writeList(&list), tried.writeStat(&stat), tried.writeDiff(&diff), tried.writeJSON(&rows, true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, out := range []*bytes.Buffer{&list, &stat, &diff, &rows} {
		if strings.ContainsRune(out.String(), 0x1b) {
			t.Errorf("%q", out)
		}
	}
	for out, want := range map[*bytes.Buffer]string{
		&stat: "3 paths changed, 3 insertions(+), 1 deletion(-)", &diff: "@@ -1,2 +1,3 @@\n one\n-two\n+2\n+three\n", &rows: `"insertions":2,"deletions":1`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
	if !strings.Contains(diff.String(), "large: 0 -> 1048577 bytes") {
		t.Errorf("%q", diff.String()[:min(diff.Len(), 500)])
	}
}

func TestPermissionBits(t *testing.T) {
	if got := permissionBits(0o751 | fs.ModeSetuid | fs.ModeSticky); got != 0o5751 {
		t.Errorf("got %o", got)
	}
}
