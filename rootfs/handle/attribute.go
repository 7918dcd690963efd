package handle

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes of overlayfs, as it reads them when mounted with "userxattr" (Linux 5.11).
const (
	OverlayPrefix = "user.overlay."
	// Opaque marks a directory: "y" hides what lower layers have in it, "x" says that it holds whiteouts in the form of
	// attributes (Linux 6.7).
	Opaque = OverlayPrefix + "opaque"
	// Whiteout makes an empty file in a directory marked with "x" a whiteout.
	Whiteout = OverlayPrefix + "whiteout"
)

// Opacity returns an open directory's mark, 'y' or 'x'; 0 is none.
func Opacity(fd int) byte {
	var value [2]byte
	n, err := unix.Fgetxattr(fd, Opaque, value[:])
	if err != nil || n != 1 {
		return 0
	}
	return value[0]
}

// IsOpaque tells whether an open directory hides what lower layers have in it.
func IsOpaque(fd int) bool { return Opacity(fd) == 'y' }

// Attributes returns the extended attributes of an open file that are wanted. A file system without attributes has none.
func Attributes(fd int, wanted func(name string) bool) (map[string]string, error) {
	names, err := Grown(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && names == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	attrs := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(names, "\x00"), "\x00") {
		if !wanted(name) {
			continue
		}
		value, err := Grown(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if errors.Is(err, unix.ENODATA) { // gone meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read attribute %q: %w", name, err)
		}
		attrs[name] = value
	}
	return attrs, nil
}

// maxAttribute is more than Linux has in an attribute, or in the list of their names: 64 KiB.
const maxAttribute = 1 << 20

// Grown returns what get fills a buffer with. Get is a call like flistxattr(2), which fails with ERANGE for one that is too
// small.
func Grown(get func([]byte) (int, error)) (string, error) {
	var small [256]byte
	for b := small[:]; ; b = make([]byte, 8*len(b)) {
		n, err := get(b)
		if !errors.Is(err, unix.ERANGE) || len(b) > maxAttribute {
			return string(b[:max(n, 0)]), err
		}
	}
}
