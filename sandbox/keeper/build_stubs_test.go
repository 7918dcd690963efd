package keeper

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
)

// treeOfPaths lists what is below a directory.
func treeOfPaths(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(dir, path); name != "." {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// makeTree makes directories, files, and symlinks (name -> target), which were changed long ago.
func makeTree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(names); i++ {
		path := filepath.Join(dir, names[i])
		var err error
		switch {
		case names[i][len(names[i])-1] == '/':
			err = os.MkdirAll(path, 0o755)
		case i+2 < len(names) && names[i+1] == "->":
			err = os.Symlink(names[i+2], path)
			i += 2
		default:
			err = os.WriteFile(path, []byte("text"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	past := time.Unix(1_000_000_000, 0)
	for _, name := range append(treeOfPaths(t, dir), ".") {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			if err := os.Chtimes(filepath.Join(dir, name), past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func stubMounts(t *testing.T) []*configs.Mount {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return []*configs.Mount{
		{Destination: "/proc", Device: "proc"}, {Destination: "/dev", Device: "tmpfs"}, {Destination: "/dev/pts", Device: "devpts"},
		{Destination: "/etc/hosts", Device: "bind", Source: file}, {Destination: "/etc/resolv.conf", Device: "bind", Source: file},
		{Destination: "/var/run/deep/er", Device: "tmpfs"}, {Destination: "/escape/x", Device: "bind", Source: file},
	}
}

func TestStubsAreMadeAndRemoved(t *testing.T) {
	outside := t.TempDir()
	root := makeTree(t, "etc/", "etc/hosts", "run/", "var/", "var/run", "->", "/run", "escape", "->", "../../../../../../.."+outside, "etc/resolv.conf", "->", "../run/none/resolv.conf")
	before := treeOfPaths(t, root)
	s, err := makeStubs(root, t.TempDir(), stubMounts(t))
	if err != nil {
		t.Fatal(err)
	}
	made := treeOfPaths(t, root)
	for _, want := range []string{"proc", "dev", "run/deep/er", "run/none/resolv.conf", filepath.Join(outside[1:], "x")} {
		if !slices.Contains(made, want) {
			t.Errorf("no %s in %q", want, made)
		}
	}
	if slices.Contains(made, "dev/pts") {
		t.Error("something was made below another mount")
	}
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	if after := treeOfPaths(t, root); !slices.Equal(after, before) {
		t.Errorf("left are %q of %q", after, before)
	}
	for _, dir := range []string{".", "etc", "run", "var"} {
		if info, err := os.Lstat(filepath.Join(root, dir)); err != nil || info.ModTime().Unix() != 1_000_000_000 {
			t.Errorf("%s was changed at %v %v", dir, info.ModTime(), err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside is %v %v", left, err)
	}
}

func TestStubsThatTheProgramHasUsedStay(t *testing.T) {
	root := makeTree(t, "etc/")
	s, err := makeStubs(root, t.TempDir(), stubMounts(t))
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(root, "var/run/deep/own")
	if err := os.WriteFile(own, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	want := []string{"etc", "var", "var/run", "var/run/deep", "var/run/deep/own"}
	if after := treeOfPaths(t, root); !slices.Equal(after, want) {
		t.Errorf("left are %q, not %q", after, want)
	}
}

func TestCopiesOfDirectoriesAroundStubsAreForgotten(t *testing.T) {
	root := makeTree(t, "etc/", "run/", "run/lock/", "srv/")
	upper := t.TempDir()
	mounts := []*configs.Mount{{Destination: "/etc/a", Device: "tmpfs"}, {Destination: "/run/lock/b", Device: "tmpfs"}, {Destination: "/srv/c", Device: "tmpfs"}}
	s, err := makeStubs(root, upper, mounts)
	if err != nil {
		t.Fatal(err)
	}
	copies := makeTree(t, "etc/", "run/", "run/lock/", "srv/", "srv/changed")
	if err := os.Chmod(filepath.Join(copies, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.upper = copies
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	if err := s.forget(); err != nil {
		t.Fatal(err)
	}
	if left, want := treeOfPaths(t, copies), []string{"etc", "srv", "srv/changed"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, not %q", left, want)
	}
}
