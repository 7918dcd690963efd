package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs/aside"
)

// writeFile replaces a file below the store: readers see the old or the new content, also after a power failure.
// Callers hold a lock for the file, so that what lies under the temporary name is nobody's.
func (s *Store) writeFile(name string, content []byte) error {
	file, err := s.create(filepath.Join("tmp", filepath.Base(name)), os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	step("temporary file made")
	if err := writeSynced(file, content); err != nil {
		return errors.Join(s.full(fmt.Errorf("write %s: %w", s.path(name), err)), os.Remove(file.Name()))
	}
	step("temporary file written")
	if err := s.rename(file.Name(), s.path(name)); err != nil {
		return err
	}
	return aside.SyncDir(filepath.Dir(s.path(name)))
}

func writeSynced(file *os.File, content []byte) error {
	_, err := file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// rename gives something complete its final name.
func (s *Store) rename(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return s.full(err)
		}
		step("directory of the final name made")
		err = os.Rename(from, to)
	}
	if err != nil {
		return s.full(fmt.Errorf("name what is complete: %w", err))
	}
	step("renamed")
	return nil
}
