package testkit

import (
	"context"
	"io"
	"io/fs"

	"github.com/bivouac-run/bivouac/sandbox"
)

// CopyTo extracts a tar archive into a directory of the container, made if missing, with the owners that it names.
func (c *Container) CopyTo(ctx context.Context, dir string, archive io.Reader) error {
	if err := c.use("copy to"); err != nil {
		return err
	}
	return c.wrap("copy to "+dir+" of", c.box.CopyTo(ctx, dir, archive))
}

// CopyFrom returns a tar archive of a file or directory of the container. The caller closes it.
func (c *Container) CopyFrom(ctx context.Context, path string) (io.ReadCloser, error) {
	if err := c.use("copy from"); err != nil {
		return nil, err
	}
	r, err := c.box.CopyFrom(ctx, path)
	return r, c.wrap("copy "+path+" from", err)
}

// FS returns the container's root as a file system to read, whether its program runs or not. Names have no slash before
// them, as in every [fs.FS].
func (c *Container) FS() fs.FS { return rootFS{c} }

// rootFS is the container's root as long as there is one.
type rootFS struct{ c *Container }

func (r rootFS) use() (fs.FS, error) {
	if err := r.c.use("read files of"); err != nil {
		return nil, err
	}
	return r.c.box.FS(context.Background()), nil
}

// Open implements [fs.FS].
func (r rootFS) Open(name string) (fs.File, error) {
	root, err := r.use()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return root.Open(name)
}

// Stat implements [fs.StatFS].
func (r rootFS) Stat(name string) (fs.FileInfo, error) {
	root, err := r.use()
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return fs.Stat(root, name)
}

// Lstat implements [fs.ReadLinkFS].
func (r rootFS) Lstat(name string) (fs.FileInfo, error) {
	root, err := r.use()
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return fs.Lstat(root, name)
}

// ReadLink implements [fs.ReadLinkFS].
func (r rootFS) ReadLink(name string) (string, error) {
	root, err := r.use()
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return fs.ReadLink(root, name)
}

// ReadDir implements [fs.ReadDirFS].
func (r rootFS) ReadDir(name string) ([]fs.DirEntry, error) {
	root, err := r.use()
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return fs.ReadDir(root, name)
}

// ReadFile implements [fs.ReadFileFS].
func (r rootFS) ReadFile(name string) ([]byte, error) {
	root, err := r.use()
	if err != nil {
		return nil, &fs.PathError{Op: "readfile", Path: name, Err: err}
	}
	return fs.ReadFile(root, name)
}

// Diff tells what files the container has changed, added and deleted in its image.
func (c *Container) Diff(ctx context.Context) ([]sandbox.Change, error) {
	if err := c.use("compare"); err != nil {
		return nil, err
	}
	changes, err := c.box.Changes(ctx)
	return changes, c.wrap("compare", err)
}
