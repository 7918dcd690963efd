package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper/tree"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// files opens the container's root: as its program sees it, with its mounts, while that runs, otherwise with its volumes and
// bind mounts.
func (c *container) files(doing string) (*tree.Root, error) {
	c.mu.Lock()
	discarding, p := c.discarding, c.last
	c.mu.Unlock()
	if discarding {
		return nil, c.gone(doing)
	}
	dir, err := p.root()
	if dir == nil && err == nil {
		dir, err = c.viewedRoot(doing)
	}
	if err != nil {
		return nil, err
	}
	return tree.New(dir, c.k.single()), nil
}

// ownFiles opens the container's root file system without what is mounted in it.
func (c *container) ownFiles(doing string) (*tree.Root, error) {
	dir, err := c.mountedRoot(doing)
	if err != nil {
		return nil, err
	}
	return tree.New(dir, c.k.single()), nil
}

// root returns nil where no program runs.
func (p *program) root() (*os.File, error) {
	if p == nil || p.hasEnded() {
		return nil, nil
	}
	dir, err := openRoot(fmt.Sprintf("/proc/%d/root", p.pid))
	if p.hasEnded() { // then this may be another process's
		if err == nil {
			dir.Close()
		}
		return nil, nil
	}
	if errors.Is(err, unix.ENOENT) { // it ended, and its end is not known yet
		return nil, nil
	}
	return dir, err
}

// mountedRoot fails once the root is given up: after the program of a container that is made, run and discarded in one
// request, the directory is still there for a moment.
func (c *container) mountedRoot(doing string) (*os.File, error) {
	dir, err := openRoot(c.area.root)
	if err != nil {
		return nil, err
	}
	probe := c.area.root
	if c.host != nil && len(c.host.overlays) > 0 {
		probe += c.host.overlays[0].At
	}
	var st unix.Statfs_t
	if err := unix.Statfs(probe, &st); err != nil || st.Type != unix.OVERLAYFS_SUPER_MAGIC {
		dir.Close()
		return nil, c.gone(doing)
	}
	return dir, nil
}

func openRoot(path string) (*os.File, error) {
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	return dir, nil
}

// askFiles makes a handler of what is asked about one file. What the system refuses is an answer.
func askFiles(ask func(*tree.Root, sandbox.FileRequest, *sandbox.FileAnswer) error) handler {
	return about(func(c *container, _ context.Context, r sandbox.FileRequest) (any, error) {
		root, err := c.files("look at a file of")
		if err != nil {
			return nil, err
		}
		defer root.Close()
		var a sandbox.FileAnswer
		a.Errno = tree.Errno(ask(root, r, &a))
		return a, nil
	})
}

func statFile(root *tree.Root, r sandbox.FileRequest, a *sandbox.FileAnswer) error {
	stat, err := root.Stat(string(r.Path), !r.NoFollow)
	a.Stat = &stat
	return err
}

func listFiles(root *tree.Root, r sandbox.FileRequest, a *sandbox.FileAnswer) (err error) {
	a.Entries, err = root.ReadDir(string(r.Path))
	return err
}

func readLink(root *tree.Root, r sandbox.FileRequest, a *sandbox.FileAnswer) error {
	link, err := root.ReadLink(string(r.Path))
	a.Link = []byte(link)
	return err
}

// openFile hands a regular file of a container over, open for reading.
func (s *server) openFile(_ context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.FileRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Of())
	if err != nil {
		return outcome{err: err}
	}
	root, err := c.files("open a file of")
	if err != nil {
		return outcome{err: err}
	}
	defer root.Close()
	f, stat, err := root.Open(string(r.Path))
	if err != nil {
		return outcome{body: sandbox.FileAnswer{Errno: tree.Errno(err)}}
	}
	o := outcome{body: sandbox.FileAnswer{Stat: &stat}}
	if f != nil {
		o.files = []*os.File{f}
	}
	return o
}
