package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox"
)

// containerFiles is what cp needs to know of a container's files. Symlinks lead below its root, whatever they say.
type containerFiles interface {
	fs.StatFS
	fs.ReadLinkFS
}

func (o *opened) files(ctx context.Context) containerFiles { return o.FS(ctx).(containerFiles) }

// inFS is an absolute path as package fs has it.
func inFS(file string) string {
	if file == "/" {
		return "."
	}
	return strings.TrimPrefix(file, "/")
}

// maxLinks is how many symlinks the kernel follows for one path (path_resolution(7)).
const maxLinks = 40

// followLinks returns where a path leads whose last part may be a symlink.
func followLinks(files containerFiles, file string) (string, error) {
	for range maxLinks {
		info, err := files.Lstat(inFS(file))
		if err != nil {
			return "", notInContainer(err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return file, nil
		}
		link, err := files.ReadLink(inFS(file))
		if err != nil {
			return "", notInContainer(err)
		}
		if !path.IsAbs(link) {
			link = path.Join(path.Dir(file), link)
		}
		file = path.Clean("/" + link)
	}
	return "", syscall.ELOOP
}

// notInContainer gives the system's word that a file is not there the code for it.
func notInContainer(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return sandbox.Errorf(sandbox.CodeNotFound, "there is no such file in the container")
	}
	return err
}

// copyTarget is where in a container a copy goes.
type copyTarget struct {
	path          string // absolute, without symlinks at its end
	exists, isDir bool
}

// findTarget looks at where a copy is to go. If that is not there, its directory has to be.
func (o *opened) findTarget(ctx context.Context, target string) (copyTarget, error) {
	files := o.files(ctx)
	t := copyTarget{path: path.Clean("/" + target)}
	fail := func(err error) (copyTarget, error) {
		return t, fmt.Errorf("copy to %s:%s: %w", o.Name, target, err)
	}
	resolved, err := followLinks(files, t.path)
	if err == nil {
		t.path = resolved
	}
	info, err := files.Stat(inFS(t.path))
	switch {
	case err == nil && !info.IsDir() && !info.Mode().IsRegular():
		return fail(sandbox.Errorf(sandbox.CodeInvalid, "it is neither a file nor a directory, but of the kind %s", info.Mode().Type()))
	case err == nil:
		t.exists, t.isDir = true, info.IsDir()
		return t, nil
	case !errors.Is(err, fs.ErrNotExist):
		return fail(notInContainer(err))
	}
	above, err := files.Stat(inFS(path.Dir(t.path)))
	if err != nil {
		return fail(sandbox.Errorf(sandbox.CodeNotFound, "there is no directory %s in the container", path.Dir(t.path)))
	}
	if !above.IsDir() {
		return fail(sandbox.Errorf(sandbox.CodeInvalid, "%s is no directory", path.Dir(t.path)))
	}
	return t, nil
}
