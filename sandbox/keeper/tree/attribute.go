package tree

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// location leads to a file from this process: attributes cannot be had through a handle without rights.
type location struct {
	path string
	// handle says that the path is an open file's, a link that is to be followed.
	handle bool
}

func here(f *os.File) location { return location{self(f), true} }

func in(dir *os.File, base string) location { return location{self(dir) + "/" + base, false} }

// attribute returns the value of an extended attribute.
func (l location) attribute(attr string) (string, error) {
	get := unix.Lgetxattr
	if l.handle {
		get = unix.Getxattr
	}
	return handle.Grown(func(b []byte) (int, error) { return get(l.path, attr, b) })
}

// attributes returns those that an archive may hold.
func (l location) attributes() (map[string]string, error) {
	listing := unix.Llistxattr
	if l.handle {
		listing = unix.Listxattr
	}
	names, err := handle.Grown(func(b []byte) (int, error) { return listing(l.path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	for attr := range strings.SplitSeq(names, "\x00") {
		if !unpack.Welcome(attr) {
			continue
		}
		if value, err := l.attribute(attr); err == nil { // otherwise it is gone
			attrs[attr] = value
		}
	}
	return attrs, nil
}

// carriesAttributes tells whether files of a kind may have user attributes: xattr(7).
func carriesAttributes(st *unix.Stat_t) bool {
	k := kind(st)
	return k == unix.S_IFREG || k == unix.S_IFDIR
}
