package rootfs

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxPartialAge is how long an unfinished download waits for a pull that continues it.
const maxPartialAge = 7 * 24 * time.Hour

// sweep removes what killed processes have left and nobody will continue: layers half unpacked, and old downloads.
// Whose lock is held is in work. It is a courtesy: what cannot be removed is left to the next sweep.
func (s *Store) sweep() {
	layers := s.path("layers", s.ids.Key, "tmp")
	for _, entry := range entries(layers) {
		s.sweepOne(s.layerLock(entry.Name()), filepath.Join(layers, entry.Name()))
	}
	for _, entry := range entries(s.path("partial")) {
		if isOld(entry) {
			s.sweepOne("blob-"+entry.Name(), s.path("partial", entry.Name()))
		}
	}
	for _, entry := range entries(s.path("tmp")) { // files that are written in an instant
		if isOld(entry) {
			_ = os.Remove(s.path("tmp", entry.Name()))
		}
	}
	for _, entry := range entries(s.path("locks")) {
		s.sweepLock(entry.Name())
	}
}

func isOld(entry os.DirEntry) bool {
	info, err := entry.Info()
	return err == nil && time.Since(info.ModTime()) > maxPartialAge
}

func entries(dir string) []os.DirEntry {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	return found
}

func (s *Store) sweepOne(lockName, path string) {
	if l, err := s.tryLock(lockName); err == nil && l != nil {
		defer l.Unlock()
		_ = removeIfThere(path)
	}
}

// sweepLock removes a lock file that outlived its process.
func (s *Store) sweepLock(name string) {
	if strings.HasPrefix(name, "layer-") || strings.HasPrefix(name, "blob-") {
		if l, err := s.tryLock(name); err == nil && l != nil {
			l.Unlock()
		}
	}
}
