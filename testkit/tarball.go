package testkit

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// tarball writes what options put into a container as one stream for its root.
type tarball struct {
	w    *tar.Writer
	time time.Time // of all files
}

// copyFiles puts all files of the options into the container at once.
func (c *Container) copyFiles(ctx context.Context) error {
	if len(c.settings.files) == 0 {
		return nil
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeSources(w, c.settings.files)) }()
	err := c.box.CopyTo(ctx, "/", r)
	_ = r.CloseWithError(err) // ends the writer
	if err != nil {
		return fmt.Errorf("copy files: %w", err)
	}
	return nil
}

func writeSources(w io.Writer, sources []source) error {
	t := &tarball{w: tar.NewWriter(w), time: time.Now()}
	for _, s := range sources {
		if err := s.write(t, s); err != nil {
			return fmt.Errorf("%s: %w", s.option, err)
		}
	}
	return t.w.Close()
}

func (t *tarball) content(target string, meta fileMeta, content []byte) error {
	if err := t.w.WriteHeader(t.header(meta, target, 0o644, int64(len(content)))); err != nil {
		return err
	}
	_, err := t.w.Write(content)
	return err
}

// header describes a regular file.
func (t *tarball) header(m fileMeta, target string, mode fs.FileMode, size int64) *tar.Header {
	if m.mode != 0 {
		mode = m.mode
	}
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(target, "/"), Size: size, Mode: int64(mode.Perm()),
		Uid: m.uid, Gid: m.gid, ModTime: t.time, Format: tar.FormatPAX,
	}
}

// tree writes what is in a file system below a directory.
func (t *tarball) tree(dir string, meta fileMeta, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return t.entry(path.Join(dir, name), meta, tree, name, entry)
	})
}

func (t *tarball) entry(target string, meta fileMeta, tree fs.FS, name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch {
	case entry.IsDir():
		return t.directory(target, meta, info.Mode())
	case entry.Type().IsRegular():
		return t.file(target, meta, tree, name, info)
	case entry.Type() == fs.ModeSymlink:
		return t.link(target, meta, tree, name)
	default:
		return fmt.Errorf("%s is a %v: only files, directories and symlinks can be copied", name, entry.Type())
	}
}

func (t *tarball) directory(target string, meta fileMeta, mode fs.FileMode) error {
	if meta.mode != 0 {
		mode = meta.mode | meta.mode&0o444>>2
	}
	h := t.header(fileMeta{uid: meta.uid, gid: meta.gid}, target+"/", mode, 0)
	h.Typeflag = tar.TypeDir
	return t.w.WriteHeader(h)
}

func (t *tarball) link(target string, meta fileMeta, tree fs.FS, name string) error {
	to, err := fs.ReadLink(tree, name)
	if err != nil {
		return err
	}
	h := t.header(meta, target, 0o777, 0)
	h.Typeflag, h.Linkname = tar.TypeSymlink, to
	return t.w.WriteHeader(h)
}

func (t *tarball) file(target string, meta fileMeta, tree fs.FS, name string, info fs.FileInfo) (err error) {
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := t.w.WriteHeader(t.header(meta, target, info.Mode(), info.Size())); err != nil {
		return err
	}
	n, err := io.Copy(t.w, io.LimitReader(f, info.Size()))
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s has become shorter while it was read", name)
	}
	return err
}

// host writes a file or directory of the host.
func (t *tarball) host(target string, meta fileMeta, hostPath string) error {
	info, err := os.Stat(hostPath)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return t.tree(target, meta, os.DirFS(hostPath))
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a %v: only files and directories can be copied", hostPath, info.Mode().Type())
	}
	return t.file(target, meta, os.DirFS(filepath.Dir(hostPath)), filepath.Base(hostPath), info)
}
