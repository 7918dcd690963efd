package tree

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/emulate"
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
	return grown(func(b []byte) (int, error) { return get(l.path, attr, b) })
}

// attributes returns those that an archive may hold.
func (l location) attributes() (map[string]string, error) {
	listing := unix.Llistxattr
	if l.handle {
		listing = unix.Listxattr
	}
	names, err := grown(func(b []byte) (int, error) { return listing(l.path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	for attr := range strings.SplitSeq(names, "\x00") {
		if !welcome(attr) {
			continue
		}
		if value, err := l.attribute(attr); err == nil { // otherwise it is gone
			attrs[attr] = value
		}
	}
	return attrs, nil
}

// grown calls get, which says how much there is, with a buffer that is enough.
func grown(get func([]byte) (int, error)) (string, error) {
	for {
		size, err := get(nil)
		if err != nil || size == 0 {
			return "", err
		}
		b := make([]byte, size)
		n, err := get(b)
		if errors.Is(err, unix.ERANGE) { // it grew meanwhile
			continue
		}
		return string(b[:max(n, 0)]), err
	}
}

// welcome tells which attributes go into archives and are taken from them: those of programs, but for overlayfs's and
// ours, and file capabilities.
func welcome(attr string) bool {
	return attr == "security.capability" ||
		strings.HasPrefix(attr, "user.") && !strings.HasPrefix(attr, "user.overlay.") && attr != emulate.XattrName
}

// carriesAttributes tells whether files of a kind may have user attributes: xattr(7).
func carriesAttributes(st *unix.Stat_t) bool {
	k := kind(st)
	return k == unix.S_IFREG || k == unix.S_IFDIR
}
