package unpack

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// maxDepth bounds the directories that a removal keeps open: a deeper one is
// moved to the top first.
const maxDepth = 32

// Remove deletes dir and all that is in it, without following a symlink and
// whatever the modes are. The caller owns the files, or has the capabilities of
// the user namespace that does. A dir that does not exist is no error.
//
// Errors: the errno of a failed system call, such as EBUSY for a mount point,
// with the name of the file.
func Remove(dir string) error {
	parent, err := handle.Open(unix.AT_FDCWD, filepath.Dir(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(removeAt(parent, filepath.Base(dir)), unix.Close(parent))
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	return nil
}

// RemoveAt is [Remove] of the file or tree that is called base in an open directory.
//
// Errors: as of Remove, but also ENOENT.
func RemoveAt(at int, base string) error { return removeAt(at, base) }

// removeAt deletes the file or tree that is called base.
func removeAt(at int, base string) error {
	err := unix.Unlinkat(at, base, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	r := remover{}
	return r.directory(at, base, 0)
}

// remover deletes one tree.
type remover struct {
	top int // its topmost directory
}

func (r *remover) directory(at int, base string, depth int) error {
	fd, err := openForRemoval(at, base)
	if err != nil {
		return fmt.Errorf("open %q: %w", base, err)
	}
	if depth == 0 {
		r.top = fd
	}
	f := os.NewFile(uintptr(fd), base)
	err = errors.Join(r.content(f, fd, depth), f.Close())
	if err != nil {
		return err
	}
	return unix.Unlinkat(at, base, unix.AT_REMOVEDIR)
}

// content starts over after every batch: what is deleted or moved to the top
// while a directory is read may make the reading skip names.
func (r *remover) content(f *os.File, fd, depth int) error {
	for {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := f.Readdirnames(1024)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.entry(fd, name, depth); err != nil {
				return err
			}
		}
	}
}

func (r *remover) entry(at int, name string, depth int) error {
	err := unix.Unlinkat(at, name, 0)
	if errors.Is(err, unix.EACCES) { // the directory is read-only, and we without capabilities
		if err = unix.Fchmod(at, 0o700); err == nil {
			err = unix.Unlinkat(at, name, 0)
		}
	}
	switch {
	case errors.Is(err, unix.EISDIR) && depth < maxDepth:
		err = r.directory(at, name, depth+1)
	case errors.Is(err, unix.EISDIR):
		err = r.lift(at, name)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// lift moves a directory to the top, whose content is read again.
func (r *remover) lift(at int, name string) error {
	lifted := ".lifted-" + strconv.FormatUint(rand.Uint64(), 36)
	err := unix.Renameat(at, name, r.top, lifted)
	if errors.Is(err, unix.EACCES) { // a read-only directory cannot get another parent
		if err = chmodAt(at, name); err == nil {
			err = unix.Renameat(at, name, r.top, lifted)
		}
	}
	return err
}

func openForRemoval(at int, base string) (int, error) {
	fd, err := handle.Open(at, base, handle.DirFlags, 0)
	if errors.Is(err, unix.EACCES) {
		if err = chmodAt(at, base); err == nil {
			fd, err = handle.Open(at, base, handle.DirFlags, 0)
		}
	}
	return fd, err
}

// chmodAt opens a directory's mode to its owner. Before Linux 6.6 only a name
// in /proc does that without following a symlink.
func chmodAt(at int, base string) error {
	err := unix.Fchmodat(at, base, 0o700, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	fd, err := handle.Open(at, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700), unix.Close(fd))
}
