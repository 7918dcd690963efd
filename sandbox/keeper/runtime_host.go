package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// hideSockets has the overlay of a directory of the machine show the runtime directory empty, if that is in it: what
// containers there are is not a container's business. Connecting is refused anyway, by [door.welcome] at the latest.
func hideSockets(dir, upper string) error {
	hidden, err := sandbox.RuntimeDir()
	if err != nil {
		return nil // then no container has a socket
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(hidden)); err == nil {
		hidden = filepath.Join(parent, filepath.Base(hidden))
	}
	below, err := filepath.Rel(dir, hidden)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return nil
	}
	if err := coverDirectory(dir, upper, below); err != nil {
		return fmt.Errorf("hide %s: %w", hidden, err)
	}
	return nil
}

// coverDirectory makes a directory of the upper layer that hides what is in the same one below, which may be missing.
func coverDirectory(lower, upper, below string) error {
	name := ""
	for part := range strings.SplitSeq(below, "/") {
		name = filepath.Join(name, part)
		mode := os.FileMode(0o700)
		if st, err := os.Lstat(filepath.Join(lower, name)); err == nil {
			if !st.IsDir() {
				return nil // so there is no such directory
			}
			mode = st.Mode().Perm() | st.Mode()&os.ModeSticky
		}
		path := filepath.Join(upper, name)
		if err := os.Mkdir(path, 0o700); os.IsExist(err) {
			continue // it was taken over
		} else if err != nil {
			return noSpace(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return unix.Setxattr(filepath.Join(upper, below), "user.overlay.opaque", []byte("y"), 0)
}
