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
func (s *Store) sweep() { s.sweepOlder(maxPartialAge) }

// sweepAll is sweep that waits for nobody to continue a download. It returns the bytes that it has made room with.
func (s *Store) sweepAll() int64 {
	freed := s.sweepOlder(0)
	for _, key := range entries(s.path("layers")) { // also those of other id mappings
		if key.Name() != s.ids.Key {
			freed += s.sweepLayers(key.Name())
		}
	}
	for _, entry := range entries(s.path("leases")) {
		_, _ = s.readLease(entry.Name())
	}
	return freed
}

func (s *Store) sweepOlder(age time.Duration) (freed int64) {
	freed = s.sweepLayers(s.ids.Key)
	for _, entry := range entries(s.path("partial")) {
		if isOlder(entry, age) {
			freed += s.sweepOne("blob-"+entry.Name(), s.path("partial", entry.Name()))
		}
	}
	for _, entry := range entries(s.path("tmp")) { // files that are written in an instant
		if isOlder(entry, max(age, time.Hour)) {
			_ = os.Remove(s.path("tmp", entry.Name()))
		}
	}
	for _, entry := range entries(s.path("locks")) {
		s.sweepLock(entry.Name())
	}
	return freed
}

func (s *Store) sweepLayers(key string) (freed int64) {
	layers := s.path("layers", key, "tmp")
	for _, entry := range entries(layers) {
		freed += s.sweepOne("layer-"+key+"-"+entry.Name(), filepath.Join(layers, entry.Name()))
	}
	return freed
}

func isOlder(entry os.DirEntry, age time.Duration) bool {
	info, err := entry.Info()
	return err == nil && time.Since(info.ModTime()) >= age
}

func entries(dir string) []os.DirEntry {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	return found
}

func (s *Store) sweepOne(lockName, path string) (freed int64) {
	if l, err := s.tryLock(lockName); err == nil && l != nil {
		defer l.Unlock()
		freed = diskUsage(path)
		if removeIfThere(path) != nil {
			return 0
		}
	}
	return freed
}

// sweepLock removes a lock file that outlived its process.
func (s *Store) sweepLock(name string) {
	if strings.HasPrefix(name, "layer-") || strings.HasPrefix(name, "blob-") || strings.HasPrefix(name, "build-") {
		if l, err := s.tryLock(name); err == nil && l != nil {
			l.Unlock()
		}
	}
}
