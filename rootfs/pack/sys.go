package pack

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// openFileFlags do not wait for the writer of a fifo that took the file's place, nor make a terminal ours.
const openFileFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// openBelow opens a directory of the tree, with no symlink or mount point in its name.
func (p *packer) openBelow(name string) (int, error) { return handle.OpenBelow(p.root, name) }

// list returns the names in an open directory.
func list(fd int) (names []string, err error) {
	for batch, err := range handle.Names(fd) {
		if err != nil {
			return nil, err
		}
		names = append(names, batch...)
	}
	return names, nil
}

func pread(fd int, b []byte, offset int64) (n int, err error) {
	err = handle.Uninterrupted(func() error {
		n, err = unix.Pread(fd, b, offset)
		return err
	})
	return n, err
}
