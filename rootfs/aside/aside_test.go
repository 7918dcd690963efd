package aside

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOldOrOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name")
	if err := Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("other"); err != nil {
		t.Fatal(err)
	}
	check(t, path, "old", 2)
	if err := f.Keep(); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	check(t, path, "other", 1)
}

func TestDiscardLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name")
	if err := os.MkdirAll(filepath.Join(path, "below"), 0o700); err != nil { // what no file can replace
		t.Fatal(err)
	}
	if err := Write(path, nil); err == nil {
		t.Error("a directory was replaced")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// check compares a file, and the number of files in its directory.
func check(t *testing.T, path, want string, files int) {
	t.Helper()
	got, err := os.ReadFile(path)
	all, _ := os.ReadDir(filepath.Dir(path))
	if err != nil || string(got) != want || len(all) != files {
		t.Errorf("%q, %v, %v", got, err, all)
	}
}
