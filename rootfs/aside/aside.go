// Package aside writes a file beside what it replaces, and gives it that name when it is complete: whoever reads sees the
// old content or the other, never a part.
package aside

import (
	"errors"
	"os"
	"path/filepath"
)

// File is a file on its way, for its owner alone until its mode is changed. A kill leaves it as ".NAME-" and digits.
type File struct {
	*os.File

	path string
	done bool
}

// Create begins a file that is to be called path. Its directory must be there.
func Create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path}, nil
}

// Keep closes the file and gives it its name. Who wants it to survive a power failure calls Sync before.
func (f *File) Keep() error {
	err := f.Close()
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	f.done = err == nil
	return err
}

// Discard closes and removes a file that was not kept. It is safe in a defer after Keep.
func (f *File) Discard() {
	if !f.done {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
}

// Write replaces a file in one go.
func Write(path string, content []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Keep()
}

// SyncDir flushes a directory's names to the disk.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
