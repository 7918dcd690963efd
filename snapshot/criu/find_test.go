package criu

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake makes a CRIU of a version in dir, which is the test binary.
func fake(t *testing.T, dir, version string) string {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	path := filepath.Join(dir, "criu")
	copyFile(t, "/proc/self/exe", path)
	if version != "" {
		must(t, os.WriteFile(path+".version", []byte(version), 0o644))
	}
	return path
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	r, err := os.Open(from)
	must(t, err)
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(w, r)
	must(t, errors.Join(err, w.Close()))
}

func TestFindTakesTheFirstNewEnough(t *testing.T) {
	dir := t.TempDir()
	old, usable := fake(t, dir+"/a", "3.17.1"), fake(t, dir+"/b", "4.2.1")
	fake(t, dir+"/c", "4.3")
	t.Setenv(Variable, "")
	t.Setenv("PATH", strings.Join([]string{dir + "/none", filepath.Dir(old), filepath.Dir(usable), dir + "/c"}, ":"))
	i, err := Find(t.Context())
	must(t, err)
	if i.Path != usable || i.Version != (Version{4, 2, 1}) || i.Identity == "" {
		t.Errorf("found %+v", i)
	}
	again, err := Open(t.Context(), usable)
	must(t, err)
	if again.Identity != i.Identity {
		t.Errorf("identity %q, was %q", again.Identity, i.Identity)
	}
}

func TestFindSaysWhatItTried(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "criu")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho Version: 9\n"), 0o755))
	tests := map[string]struct {
		path   string
		reason error
		text   string
	}{
		"too old":      {fake(t, dir+"/old", "4.1.1"), ErrTooOld, "is 4.1.1, which is too old: 4.2 or newer"},
		"not there":    {dir + "/none", ErrNotThere, "none is not there"},
		"a script":     {script, ErrNoStart, "bad magic"},
		"fails":        {fake(t, dir+"/fails", ""), ErrNoStart, "exit status 1"},
		"no version":   {fake(t, dir+"/new", "next"), ErrNoStart, `"Version: next"`},
		"empty prefix": {dir + "/old/", ErrNotThere, "usr/sbin/criu"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(Variable, test.path)
			_, err := Find(t.Context())
			var notFound *NotFoundError
			if !errors.As(err, &notFound) || len(notFound.Tried) != 1 || notFound.Remedy() == "" {
				t.Fatalf("error %v", err)
			}
			if !errors.Is(err, test.reason) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %q", err, test.text)
			}
		})
	}
}

// A private tree has a loader and libraries of its own, and they are all there.
func TestPrivateTree(t *testing.T) {
	program, err := readObject("/proc/self/exe")
	must(t, err)
	if program.loader == "" {
		t.Skip("this test binary is static")
	}
	host := libraryPlaces("/")
	_, loader, err := findLoader(&object{path: "/bin/x", loader: program.loader})
	must(t, err)
	dir := t.TempDir()
	path := fake(t, dir+"/usr/sbin", "4.2")
	// Not where the program names it: Debian's package scripts make the symlink.
	copyFile(t, loader, dir+"/usr/lib/some-linux-gnu/"+filepath.Base(program.loader))

	_, err = Open(t.Context(), path)
	var missing *MissingLibraryError
	if !errors.Is(err, ErrNoStart) || !errors.As(err, &missing) || missing.NeededBy != path {
		t.Fatalf("without libraries: %v", err)
	}
	for _, name := range program.needed {
		o, _ := findLibrary("/", host, name, program.header)
		if o == nil {
			t.Fatalf("%s is not there", name)
		}
		if name != filepath.Base(program.loader) {
			copyFile(t, o.path, dir+"/usr/lib/some-linux-gnu/"+name)
		}
	}
	i, err := Open(t.Context(), dir+"/usr/sbin/criu")
	must(t, err)
	if !strings.HasPrefix(i.Loader, dir) || len(i.Libraries) != 1 || i.Libraries[0] != dir+"/usr/lib/some-linux-gnu" {
		t.Errorf("%+v", i)
	}
}

func TestBlankPreload(t *testing.T) {
	program := []byte("\x00/etc/ld.so.preload\x00ld.preload\x00/x\x00/etc/ld-nix.so.preload\x00/etc/ld.so.preload.d\x00")
	if n := blankPreload(program); n != 2 {
		t.Errorf("%d strings, want 2", n)
	}
	const want = "\x00\x00etc/ld.so.preload\x00ld.preload\x00/x\x00\x00etc/ld-nix.so.preload\x00/etc/ld.so.preload.d\x00"
	if string(program) != want {
		t.Errorf("%q", program)
	}
}

func TestLess(t *testing.T) {
	order := []Version{{}, {3, 19, 2}, {4, 1, 9}, {4, 2, 0}, {4, 2, 1}, {4, 10, 0}, {5, 0, 0}}
	for i := range order {
		for j := range order {
			if order[i].Less(order[j]) != (i < j) {
				t.Errorf("%s < %s", order[i], order[j])
			}
		}
	}
}
