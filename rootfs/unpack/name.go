package unpack

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh." // AUFS's own files
	opaqueName     = ".wh..wh..opq"
)

// clean makes a name of the archive relative to the root, without "." or "..".
// The root itself is ".".
func clean(unsafeName string) (string, error) {
	// Nothing in a container could open a longer one, and it would make
	// thousands of directories out of one header.
	if len(unsafeName) >= unix.PathMax {
		return "", unix.ENAMETOOLONG
	}
	name := path.Clean(strings.TrimLeft(unsafeName, "/"))
	if name == ".." || strings.HasPrefix(name, "../") {
		return "", ErrEscape
	}
	return name, nil
}

// mark is an entry that says something about another one.
type mark struct {
	dir    string // where it lies
	hides  string // the name in dir that it hides, empty if
	opaque bool   // everything of lower layers in dir is hidden; neither: no meaning
}

// markOf tells whether a clean name is a whiteout, an opaque mark, or one of
// AUFS's own files. It returns nil for all other names.
func markOf(name string) (*mark, error) {
	if !strings.Contains(name, whiteoutPrefix) {
		return nil, nil
	}
	dir, base := path.Dir(name), path.Base(name)
	if base == opaqueName && !hasMeta(dir) {
		return &mark{dir: dir, opaque: true}, nil
	}
	if hasMeta(name) {
		return &mark{}, nil
	}
	hides, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok {
		return nil, nil
	}
	if hides == "" || hides == "." || hides == ".." {
		return nil, fmt.Errorf("%w: whiteout of nothing", ErrArchive)
	}
	return &mark{dir: dir, hides: hides}, nil
}

func hasMeta(name string) bool {
	return strings.HasPrefix(name, metaPrefix) || strings.Contains(name, "/"+metaPrefix)
}
