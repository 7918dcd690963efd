package main

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// extraction puts a tar stream from a container on the local disk. All is done through a handle on the target's directory: no
// name and no symlink of the stream leads out of it, and none of the stream's own symlinks is followed.
type extraction struct {
	name      string // the source's
	content   bool   // of a directory, without itself
	mustBeDir bool
	archive   bool

	root    *os.Root
	prefix  string          // the copy's name below root, "" for root itself
	top     string          // of the stream's names
	links   map[string]bool // symlinks that were made
	dirs    []*tar.Header   // whose modes and times are set at the end, with Name as it is below root
	foreign int             // files whose owners only root could give them
	devices int             // device nodes of a directory, which are left out
}

// extract reads the stream and puts it where the target says: Docker's rules.
func (x *extraction) extract(stream io.Reader, target string) (err error) {
	in := tar.NewReader(stream)
	first, err := in.Next()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	isDir := first.Typeflag == tar.TypeDir
	if x.mustBeDir && !isDir {
		return sandbox.Errorf(sandbox.CodeInvalid, "copy %s: it is no directory", x.name)
	}
	if err := x.place(target, isDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.root.Close()) }()
	x.top, x.links = path.Clean(first.Name), map[string]bool{}
	for h := first; err == nil; h, err = in.Next() {
		if err := x.one(h, in); err != nil {
			return err
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil { // which tells how the stream ended
		return err
	}
	x.tellLost()
	return x.finish()
}

// place opens the directory that the copy goes to, and decides what it is called there.
func (x *extraction) place(target string, isDir bool) error {
	info, err := os.Stat(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return localError(target, err)
	}
	dir := target
	switch {
	case err == nil && info.IsDir() && isDir && x.content:
	case err == nil && info.IsDir():
		x.prefix = x.name
	default:
		if err := x.mayReplace(info, target, isDir); err != nil {
			return err
		}
		if resolved, err := filepath.EvalSymlinks(target); err == nil { // the user's own symlink means what it leads to
			target = resolved
		}
		dir, x.prefix = filepath.Dir(filepath.Clean(target)), filepath.Base(filepath.Clean(target))
	}
	if x.root, err = os.OpenRoot(dir); err != nil {
		return localError(dir, err)
	}
	return nil
}

// mayReplace tells whether the copy can be the target itself, of which info is nil if it is not there.
func (x *extraction) mayReplace(info fs.FileInfo, target string, isDir bool) error {
	switch {
	case !isDir && wantsDirectory(target):
		return sandbox.Errorf(sandbox.CodeNotFound, "copy %s to %s: there is no such directory", x.name, target)
	case info == nil:
		return nil
	case isDir:
		return sandbox.Errorf(sandbox.CodeInvalid, "copy %s to %s: a directory cannot replace a file", x.name, target)
	case !info.Mode().IsRegular():
		return sandbox.Errorf(sandbox.CodeInvalid, "copy %s to %s: it is neither a file nor a directory", x.name, target)
	}
	return nil
}

// below translates a name of the stream.
//
// Errors: CodeBadArchive.
func (x *extraction) below(name string) (string, error) {
	clean := path.Clean(name)
	rest := clean
	if x.top != "." {
		var ok bool
		if rest, ok = strings.CutPrefix(clean, x.top); !ok || rest != "" && rest[0] != '/' {
			return "", sandbox.Errorf(sandbox.CodeBadArchive, "copy %s: the stream has %q, which is not in it", x.name, name)
		}
	}
	out := path.Join(x.prefix, strings.TrimPrefix(rest, "/"))
	if out == "" {
		out = "."
	}
	if !filepath.IsLocal(out) {
		return "", sandbox.Errorf(sandbox.CodeBadArchive, "copy %s: the stream has %q, which leads out of it", x.name, name)
	}
	for dir := path.Dir(out); dir != "."; dir = path.Dir(dir) {
		if x.links[dir] {
			return "", sandbox.Errorf(sandbox.CodeBadArchive, "copy %s: the stream has %q, below a symlink", x.name, name)
		}
	}
	return out, nil
}

// one puts one entry in its place.
func (x *extraction) one(h *tar.Header, content io.Reader) error {
	name, err := x.below(h.Name)
	if err != nil {
		return err
	}
	if x.archive && (h.Uid != 0 || h.Gid != 0) {
		x.foreign++
	}
	if node := h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock; node && path.Clean(h.Name) != x.top {
		x.devices++ // only root can make them, and the /dev of each running container has some
		return nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = x.directory(name, h)
	case tar.TypeReg:
		err = x.replace(name, func(aside string) error { return x.file(aside, h, content) })
	case tar.TypeSymlink:
		err = x.replace(name, func(aside string) error { return x.root.Symlink(h.Linkname, aside) })
		x.links[name] = true
	case tar.TypeLink:
		var first string
		if first, err = x.below(h.Linkname); err == nil {
			err = x.replace(name, func(aside string) error { return x.root.Link(first, aside) })
		}
	case tar.TypeFifo:
		err = x.replace(name, func(aside string) error { return x.fifo(aside, h) })
	default:
		err = sandbox.Errorf(sandbox.CodeUnsupported, "an ordinary user cannot make device nodes")
	}
	if err != nil {
		return fmt.Errorf("copy to %s: %w", filepath.Join(x.root.Name(), name), withoutPath(err))
	}
	return nil
}

// withoutPath leaves the names out of an error that are told already.
func withoutPath(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// directory makes a directory that can be written to for now.
func (x *extraction) directory(name string, h *tar.Header) error {
	if name == "." {
		return nil // the user's own, which stays as it is
	}
	info, err := x.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := x.root.Mkdir(name, 0o700); err != nil {
			return err
		}
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0 && x.links[name]:
		return errors.New("it is a symlink")
	case !info.IsDir():
		if target, err := x.root.Stat(name); err != nil || !target.IsDir() {
			return errors.New("a directory cannot replace a file")
		}
	}
	kept := *h
	kept.Name = name
	x.dirs = append(x.dirs, &kept)
	return nil
}

// replace makes a file under another name and then gives it its own, so that one that is there is replaced by the whole of it.
func (x *extraction) replace(name string, make func(aside string) error) error {
	if info, err := x.root.Lstat(name); err == nil && info.IsDir() {
		return errors.New("a file cannot replace a directory")
	}
	aside := path.Join(path.Dir(name), ".bivouac-"+rand.Text())
	err := make(aside)
	if err == nil {
		err = x.root.Rename(aside, name)
	}
	if err != nil {
		_ = x.root.Remove(aside)
	}
	return err
}

// localMode is without setuid and setgid: what a container's root has made so would now be so for the user.
func localMode(h *tar.Header) fs.FileMode { return fs.FileMode(h.Mode) & fs.ModePerm }

func (x *extraction) file(aside string, h *tar.Header, content io.Reader) (err error) {
	f, err := x.root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	err = errors.Join(err, f.Chmod(localMode(h)), f.Close())
	if err != nil {
		return err
	}
	return x.root.Chtimes(aside, time.Time{}, h.ModTime)
}

func (x *extraction) fifo(aside string, h *tar.Header) error {
	dir, err := x.root.Open(path.Dir(aside))
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Mkfifoat(int(dir.Fd()), path.Base(aside), uint32(localMode(h)))
}

// finish gives the directories their modes and times, the innermost first.
func (x *extraction) finish() error {
	for _, h := range slices.Backward(x.dirs) {
		if err := errors.Join(x.root.Chmod(h.Name, localMode(h)), x.root.Chtimes(h.Name, time.Time{}, h.ModTime)); err != nil {
			return fmt.Errorf("copy to %s: %w", filepath.Join(x.root.Name(), h.Name), withoutPath(err))
		}
	}
	return nil
}

// tellLost warns of what only root could have copied.
func (x *extraction) tellLost() {
	if x.foreign > 0 {
		warn([]string{fmt.Sprintf("%s of other users than root in the container; here only root could give them away, so they are yours", countOf(x.foreign, "file"))})
	}
	if x.devices > 0 {
		warn([]string{"left out " + countOf(x.devices, "device node") + ", which only root can make"})
	}
}
