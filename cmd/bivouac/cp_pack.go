package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// pack is a local file or directory on its way into a container. It is read through a handle on its directory, so that nobody
// who changes it meanwhile has other files read.
type pack struct {
	root    *os.Root // its directory, or that of the file
	top     string   // the source in it; "." for a directory
	info    fs.FileInfo
	shown   string
	content bool // of a directory, without itself
	archive bool

	name  string // what it is called in the container
	links map[[2]uint64]string
}

// pack opens the source.
func (f *cpFlags) pack(source string) (*pack, error) {
	p := &pack{shown: source, archive: f.archive, content: wantsContent(source), links: map[[2]uint64]string{}}
	look := os.Lstat
	if f.followLink || wantsDirectory(source) {
		look = os.Stat
	}
	info, err := look(source)
	if err != nil {
		return nil, localError(source, err)
	}
	if wantsDirectory(source) && !info.IsDir() {
		return nil, localError(source, &fs.PathError{Op: "open", Path: source, Err: syscall.ENOTDIR})
	}
	dir, top := filepath.Dir(source), filepath.Base(source)
	if info.IsDir() {
		dir, top = source, "."
	} else if resolved, err := filepath.EvalSymlinks(source); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		dir, top = filepath.Dir(resolved), filepath.Base(resolved)
	}
	p.root, err = os.OpenRoot(dir)
	if err != nil {
		return nil, localError(source, err)
	}
	p.top, p.info = top, info
	return p, nil
}

func (p *pack) close() { _ = p.root.Close() }

// localError has the code for a file that is not there.
func localError(file string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return sandbox.Errorf(sandbox.CodeNotFound, "copy %s: %v", file, err)
	}
	return fmt.Errorf("copy %s: %w", file, err)
}

// baseName is the name of a local path, also of . and its like.
func baseName(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(file)
}

// placeIn decides what the source is called in the container, and returns the directory that it goes to: Docker's rules.
func (p *pack) placeIn(t copyTarget, target string) (dir string, err error) {
	switch {
	case t.isDir && p.info.IsDir() && p.content:
		return t.path, nil
	case t.isDir:
		p.name = baseName(p.shown)
		return t.path, nil
	case t.exists && p.info.IsDir():
		return "", sandbox.Errorf(sandbox.CodeInvalid, "copy %s to %s: a directory cannot replace a file", p.shown, target)
	case !p.info.IsDir() && wantsDirectory(target):
		return "", sandbox.Errorf(sandbox.CodeNotFound, "copy %s to %s: there is no such directory in the container", p.shown, target)
	}
	p.name = path.Base(t.path)
	return path.Dir(t.path), nil
}

// writeTo writes the tar stream.
func (p *pack) writeTo(w io.Writer) error {
	out := tar.NewWriter(w)
	var err error
	if p.info.IsDir() {
		err = fs.WalkDir(p.root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
			if err != nil {
				return localError(filepath.Join(p.shown, name), err)
			}
			return p.add(out, name)
		})
	} else {
		err = p.add(out, p.top)
	}
	return errors.Join(err, out.Close())
}

// nameOf is what a file is called in the container; "" for the directory whose content alone is wanted.
func (p *pack) nameOf(file string) string {
	if !p.info.IsDir() {
		return p.name
	}
	if file == "." && p.name == "" {
		return ""
	}
	return path.Join(p.name, file)
}

// add writes one file.
func (p *pack) add(out *tar.Writer, file string) error {
	name := p.nameOf(file)
	if name == "" {
		return nil
	}
	info, err := p.root.Lstat(file)
	if err != nil {
		return localError(filepath.Join(p.shown, file), err)
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil // nobody can use it there
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = p.root.Readlink(file); err != nil {
			return localError(filepath.Join(p.shown, file), err)
		}
	}
	var content *os.File
	if info.Mode().IsRegular() {
		if content, info, err = p.open(file); err != nil {
			return localError(filepath.Join(p.shown, file), err)
		}
		defer content.Close()
	}
	return p.write(out, name, link, info, content)
}

// open opens a regular file. What has been put in its place meanwhile is not waited for.
func (p *pack) open(file string) (*os.File, fs.FileInfo, error) {
	f, err := p.root.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it was replaced while it was copied")
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func (p *pack) write(out *tar.Writer, name, link string, info fs.FileInfo, content *os.File) error {
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("copy %s: %w", p.shown, err)
	}
	h.Name, h.Uname, h.Gname = name, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	if !p.archive {
		h.Uid, h.Gid = 0, 0
	}
	if p.isLink(h, info) {
		content = nil
	}
	if err := out.WriteHeader(h); err != nil {
		return fmt.Errorf("copy %s: %w", p.shown, err)
	}
	if content == nil {
		return nil
	}
	if _, err := io.CopyN(out, content, h.Size); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it became shorter while it was copied")
		}
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}

// isLink makes a hard link of a file that is in the stream by another name already.
func (p *pack) isLink(h *tar.Header, info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || h.Typeflag != tar.TypeReg || st.Nlink < 2 {
		return false
	}
	key := [2]uint64{uint64(st.Dev), st.Ino}
	first, again := p.links[key]
	if !again {
		p.links[key] = h.Name
		return false
	}
	h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	return true
}
