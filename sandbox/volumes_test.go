package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestVolumesAreReadWithTheirUsers(t *testing.T) {
	home := t.TempDir()
	t.Setenv("BIVOUAC_HOME", home)
	if list, err := sandbox.Volumes(t.Context()); err != nil || list != nil {
		t.Errorf("without a store: %v %v", list, err)
	}
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("volumes/data/volume.json", `{"name": "data", "labels": {"a": "b"}, "ids": "x"}`)
	write("volumes/other/volume.json", `{"name": "data"}`)
	write("volumes/.new-1/volume.json", `{"name": ".new-1"}`)
	write("volumes/damaged/volume.json", `{`)
	write("volumes/data/users/gone", "{}")
	write("volumes/data/users/kept", "{}")
	write("containers/kept/container.json", "{}")
	f, err := os.Open(write("volumes/data/users/running", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	list, err := sandbox.Volumes(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	v := list[0]
	if v.Name != "data" || v.Labels["a"] != "b" || v.Path != filepath.Join(home, "volumes/data/_data") || !slices.Equal(v.Users, []string{"kept", "running"}) {
		t.Errorf("got %+v", v)
	}
	for _, name := range []string{"none", "", ".", "..", "data/..", ".new-1"} {
		if _, err := sandbox.ReadVolume(name); sandbox.CodeOf(err) != sandbox.CodeNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}
