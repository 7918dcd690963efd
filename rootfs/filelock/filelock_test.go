package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
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

func TestFlockSharesAndKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name")
	open := func() *os.File {
		t.Helper()
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		return file
	}
	one, two, alone := open(), open(), open()
	for _, file := range []*os.File{one, two} {
		if got, err := Flock(file, unix.LOCK_SH); !got || err != nil {
			t.Fatalf("share: %v, %v", got, err)
		}
	}
	if got, err := Flock(alone, unix.LOCK_EX); got || err != nil {
		t.Fatalf("alone among others: %v, %v", got, err)
	}
	_, _ = one.Close(), two.Close()
	if got, err := Flock(alone, unix.LOCK_EX); !got || err != nil {
		t.Fatalf("alone: %v, %v", got, err)
	}
	_ = alone.Close()
	last := open() // it is still there
	if err := os.Rename(path, path+"-other"); err != nil {
		t.Fatal(err)
	}
	if got, err := Flock(last, unix.LOCK_EX); got || !errors.Is(err, ErrGone) {
		t.Fatalf("renamed: %v, %v", got, err)
	}
}

func TestWait(t *testing.T) {
	var lock Lock
	tries := 0
	got, err := Wait(t.Context(), func() (*Lock, error) {
		if tries++; tries < 4 {
			return nil, nil
		}
		return &lock, nil
	})
	if got != &lock || err != nil || tries != 4 {
		t.Errorf("got %v, %v after %d tries", got, err, tries)
	}
	late, busy := errors.New("late"), errors.New("busy")
	ended, end := context.WithCancelCause(t.Context())
	end(late)
	if got, err := Wait(ended, func() (*Lock, error) { return nil, nil }); got != nil || !errors.Is(err, late) {
		t.Errorf("no time left: %v, %v", got, err)
	}
	if got, err := Wait(ended, func() (*Lock, error) { return &lock, nil }); got != &lock || err != nil {
		t.Errorf("free: %v, %v", got, err)
	}
	if got, err := Wait(t.Context(), func() (*Lock, error) { return nil, busy }); got != nil || !errors.Is(err, busy) {
		t.Errorf("failed: %v, %v", got, err)
	}
}
