package rootfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// DiskUsage returns the bytes that a file, or a directory with all that is in it, takes of the disk, as du(1) counts them:
// blocks, and of a file with several names in it once. What cannot be read counts as nothing.
func DiskUsage(path string) int64 { return diskUsage(path) }

func diskUsage(path string) int64 {
	w := weigher{seen: map[[2]uint64]bool{}}
	w.entry(unix.AT_FDCWD, path, 0)
	return w.bytes
}

// weigher adds up one tree, without following symlinks.
type weigher struct {
	bytes int64
	seen  map[[2]uint64]bool // files of several names
}

func (w *weigher) entry(at int, name string, depth int) {
	var st unix.Stat_t
	if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Nlink > 1 && !isDir {
		id := [2]uint64{st.Dev, st.Ino} //nolint:unconvert // 32 bits wide on some machines
		if w.seen[id] {
			return
		}
		w.seen[id] = true
	}
	w.bytes += st.Blocks * 512
	if isDir && depth < maxWeighed {
		w.directory(at, name, depth)
	}
}

// maxWeighed bounds the directories in each other that are open at once.
const maxWeighed = 256

const weighFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func (w *weigher) directory(at int, name string, depth int) {
	fd, err := unix.Openat(at, name, weighFlags, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, base := range names {
		w.entry(fd, base, depth+1)
	}
}
