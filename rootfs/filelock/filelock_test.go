package filelock

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOneAtATimeAndNoFileAfterwards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name")
	first, err := Try(path)
	if err != nil || first == nil {
		t.Fatalf("free: got %v, %v", first, err)
	}
	if second, err := Try(path); second != nil || err != nil {
		t.Fatalf("taken: got %v, %v", second, err)
	}
	first.Unlock()
	first.Unlock()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	again, err := Try(path)
	if err != nil || again == nil {
		t.Fatalf("given up: got %v, %v", again, err)
	}
	again.Unlock()
}

func TestAFileThatLostItsNameIsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if l, err := Take(file); l != nil || err != nil {
		t.Errorf("got %v, %v", l, err)
	}
}
