package unpack

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// maxLinks is how many symlinks one name may lead through, as in the kernel.
const maxLinks = 40

// walker goes from the root of a tree to a directory, one component at a time.
// It reads symlinks itself, so the kernel never follows one.
type walker struct {
	t      *tree
	fd     int      // where it is
	at     []string // the components that lead there, none of them a symlink
	links  int      // symlinks read so far
	create bool     // make directories that are missing
}

// walk opens the directory of a clean name. The caller closes the walker's fd.
func (t *tree) walk(name string, create bool) (*walker, error) {
	w := &walker{t: t, fd: -1, create: create}
	err := w.restart()
	for todo := strings.Split(name, "/"); err == nil && len(todo) > 0; {
		var link string
		link, err = w.step(todo[0])
		todo = todo[1:]
		if link != "" {
			todo = append(strings.Split(link, "/"), todo...)
		}
	}
	if err != nil {
		w.move(-1)
		return nil, err
	}
	return w, nil
}

func (w *walker) path() string {
	if len(w.at) == 0 {
		return "."
	}
	return strings.Join(w.at, "/")
}

// step takes one component. If that is a symlink it stays where it is, at the
// root for an absolute one, and returns where the link leads.
func (w *walker) step(component string) (link string, err error) {
	switch component {
	case "", ".":
		return "", nil
	case "..":
		return "", w.up()
	}
	fd, err := handle.Open(w.fd, component, handle.DirFlags, 0)
	switch {
	case w.create && errors.Is(err, unix.ENOENT):
		err = keepTimes(w.fd, func() (err error) {
			fd, err = w.t.imply(w.fd, component, w.path()+"/"+component)
			return err
		})
	case errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP):
		if link, err = w.follow(component); link != "" || err != nil {
			return link, err
		}
		err = keepTimes(w.fd, func() (err error) {
			fd, err = w.uncover(component)
			return err
		})
	}
	if err != nil {
		_ = unix.Close(fd) // mostly there is none
		return "", fmt.Errorf("open directory %q: %w", w.path()+"/"+component, err)
	}
	w.move(fd)
	w.at = append(w.at, component)
	return "", nil
}

// keepTimes leaves an open directory the times that it has while something is made in it. [tree] may have closed it.
func keepTimes(fd int, do func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return wrap("stat directory", err)
	}
	if err := do(); err != nil {
		return err
	}
	return (&times{st.Atim, st.Mtim}).set(fd)
}

// up goes to the parent directory. Nobody else moves directories of the layer,
// so ".." leads where the components say.
func (w *walker) up() error {
	if len(w.at) == 0 {
		return ErrEscape
	}
	fd, err := handle.Open(w.fd, "..", handle.DirFlags, 0)
	if err != nil {
		return wrap("open parent directory", err)
	}
	w.move(fd)
	w.at = w.at[:len(w.at)-1]
	return nil
}

// follow reads a symlink; it returns "" if component is something else.
func (w *walker) follow(component string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(w.fd, component, buf[:])
	if errors.Is(err, unix.EINVAL) {
		return "", nil
	}
	if err != nil {
		return "", wrap("read symlink", err)
	}
	if w.links++; w.links > maxLinks {
		return "", fmt.Errorf("%w: %q: %w", ErrArchive, w.path()+"/"+component, unix.ELOOP)
	}
	if buf[0] == '/' {
		err = w.restart()
	}
	return string(buf[:n]), err
}

// uncover makes a directory in the place of a whiteout: lower layers' content
// of that name stays hidden.
func (w *walker) uncover(component string) (int, error) {
	if !w.create || !isWhiteoutAt(w.fd, component) {
		return -1, fmt.Errorf("%w: %w", ErrArchive, unix.ENOTDIR)
	}
	if err := unix.Unlinkat(w.fd, component, 0); err != nil {
		return -1, wrap("remove whiteout", err)
	}
	fd, err := w.t.imply(w.fd, component, w.path()+"/"+component)
	if err != nil {
		return -1, err
	}
	if err := setOpaque(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *walker) restart() error {
	fd, err := unix.FcntlInt(uintptr(w.t.root.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return wrap("open root of the layer", err)
	}
	w.move(fd)
	w.at = w.at[:0]
	return nil
}

func (w *walker) move(fd int) {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.fd = fd
}
