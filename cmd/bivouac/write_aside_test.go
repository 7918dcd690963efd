package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWriteAsideLeavesFifosWhatTheyAre(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDWR, 0) // does not wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := writeAside(fifo, strings.NewReader("tar")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, err := reader.Read(got); err != nil || string(got[:n]) != "tar" {
		t.Errorf("the fifo had %q, %v", got[:n], err)
	}
	if info, err := os.Lstat(fifo); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the fifo is %v, %v", info.Mode(), err)
	}
}

func TestWriteAsideReplacesFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"old", "other"} {
		if err := writeAside(file, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("the file has %q, %v", got, err)
		}
	}
	if err := writeAside(filepath.Dir(file), strings.NewReader("")); err == nil {
		t.Error("a directory was written to")
	}
}
