package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// difference is a change with both of its sides.
type difference struct {
	change   sandbox.Change
	old, now side
	// files counts what was in a deleted directory, directories not counted.
	files int
	// isText tells that there are lines to compare, which the others are of.
	isText                bool
	lines                 []byte
	insertions, deletions int
}

// side is a file before or after. Its zero value is none.
type side struct {
	kind string // file, directory, symlink or other
	mode uint32 // permissions
	size int64
	text []byte // of a file that is no larger than maxCompared; where a symlink leads
	all  bool   // text is all of it
}

func (s *side) octal() string {
	if s.kind == "" {
		return ""
	}
	return fmt.Sprintf("%04o", s.mode)
}

// hasContent tells whether there is a file or symlink on a side.
func (d *difference) hasContent() bool {
	has := func(s *side) bool { return s.kind == "file" || s.kind == "symlink" }
	return has(&d.old) || has(&d.now)
}

// maxCompared is the size up to which files are compared line by line.
const maxCompared = 1 << 20

// compare finds out about a change; with content also what has changed in the file.
func (t *tried) compare(c sandbox.Change, content bool) (difference, error) {
	d := difference{change: c}
	var err error
	if c.Kind != sandbox.ChangeDeleted {
		if d.now, err = t.sideNow(c.Path, content); err != nil {
			return d, err
		}
	}
	if c.Kind != sandbox.ChangeAdded {
		if d.old, err = sideOld(c.Path, content); err != nil {
			return d, err
		}
	}
	if d.old.kind == "directory" && d.now.kind == "directory" { // what marks them for their group is not the command's
		d.old.mode, d.now.mode = d.old.mode&^(unix.S_ISUID|unix.S_ISGID), d.now.mode&^(unix.S_ISUID|unix.S_ISGID)
	}
	if d.old.kind == "directory" && c.Kind == sandbox.ChangeDeleted {
		d.files = filesBelow(c.Path)
	}
	if content && d.hasContent() {
		d.compareText()
	}
	return d, nil
}

func (d *difference) compareText() {
	whole := func(s *side) bool { return s.kind == "" || s.kind == "directory" || s.all && !isBinary(s.text) }
	if d.isText = whole(&d.old) && whole(&d.now); !d.isText {
		return
	}
	old, now := diffNames(d.change.Path)
	d.lines = diff.Diff(old, d.old.text, now, d.now.text)
	_, body, _ := bytes.Cut(d.lines, []byte("\n+++ "))
	for line := range bytes.Lines(body) {
		switch line[0] {
		case '+':
			d.insertions++
		case '-':
			d.deletions++
		}
	}
	if i := bytes.Index(d.lines, []byte("\n--- ")); i >= 0 {
		d.lines = d.lines[i+1:] // without a line that only the library's tests need
	}
}

// isBinary is git's guess.
func isBinary(text []byte) bool { return bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 }

// sideNow is a file as the command has left it.
func (t *tried) sideNow(p string, content bool) (side, error) {
	info, err := t.lstat(p)
	if errors.Is(err, fs.ErrInvalid) {
		return side{kind: "other"}, nil // a name that is not UTF-8
	}
	if err != nil {
		return side{}, err
	}
	s := side{kind: fileKind(info.Mode()), mode: permissionBits(info.Mode())}
	switch s.kind {
	case "symlink":
		target, err := fs.ReadLink(t.view, nameOf(p))
		s.text, s.size, s.all = []byte(target), int64(len(target)), true
		return s, err
	case "file":
		s.size = info.Size()
		if !content || s.size > maxCompared {
			return s, nil
		}
		f, err := t.view.Open(nameOf(p))
		if errors.Is(err, fs.ErrPermission) {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		defer f.Close() //nolint:errcheck // it was only read
		return s, s.read(f)
	}
	return s, nil
}

// read takes the content, or finds that it is too long.
func (s *side) read(r io.Reader) (err error) {
	s.text, err = io.ReadAll(io.LimitReader(r, maxCompared+1))
	s.all = len(s.text) <= maxCompared
	return err
}

// sideOld is a file of the machine. What is not there any more, or not to be read, is none.
func sideOld(p string, content bool) (side, error) {
	at, err := openPlace(p)
	if err != nil {
		return side{}, nil //nolint:nilerr // it was there, and commit looks again
	}
	defer at.close()
	f, err := at.look()
	if err != nil || f == nil {
		return side{}, err
	}
	s := side{kind: kindOfFound(f), mode: f.Mode & 0o7777}
	switch s.kind {
	case "symlink":
		target, err := readLinkIn(at.dir, at.base)
		s.text, s.size, s.all = []byte(target), int64(len(target)), true
		return s, err
	case "file":
		s.size = f.Size
		if content && s.size <= maxCompared {
			return s, s.readMachine(at)
		}
	}
	return s, nil
}

func (s *side) readMachine(at *place) error {
	fd, err := unix.Openat(at.fd(), at.base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // not for this user
	}
	file := os.NewFile(uintptr(fd), at.path)
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	}
	return s.read(file)
}

// filesBelow counts the files in a directory of the machine, as far as they can be seen.
func filesBelow(dir string) (n int) {
	root, err := openMachine(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0
	}
	defer root.Close()
	_ = eachBelow(root, func(_ *os.File, _ string, f *found) error {
		if !f.isDir() {
			n++
		}
		return nil
	})
	return n
}

// eachBelow calls visit for everything in an open directory, a directory before what is in it. No symlink is followed.
func eachBelow(dir *os.File, visit func(dir *os.File, base string, f *found) error) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, base := range names {
		f, err := lookIn(dir, base)
		if err != nil || f == nil {
			return errors.Join(err, vanished(path.Join(dir.Name(), base), f))
		}
		if err := visit(dir, base, f); err != nil {
			return err
		}
		if !f.isDir() {
			continue
		}
		below, err := openIn(dir, base)
		if err != nil {
			return err
		}
		err = eachBelow(below, visit)
		_ = below.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func vanished(p string, f *found) error {
	if f != nil {
		return nil
	}
	return fmt.Errorf("%s is gone", printable(p))
}

// openIn opens a directory in another one, and no other file system that is mounted there.
func openIn(dir *os.File, base string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat2(int(dir.Fd()), base, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // a profile that knows no openat2
		fd, err = openOnDevice(int(dir.Fd()), base, flags)
	}
	p := path.Join(dir.Name(), base)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

func openOnDevice(at int, base string, flags int) (int, error) {
	fd, err := unix.Openat(at, base, flags, 0)
	if err != nil {
		return -1, err
	}
	var above, is unix.Stat_t
	if err := errors.Join(unix.Fstat(at, &above), unix.Fstat(fd, &is)); err != nil || above.Dev != is.Dev {
		_ = unix.Close(fd)
		return -1, errors.Join(err, unix.EXDEV)
	}
	return fd, nil
}

func fileKind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	}
	return "other"
}

func kindOfFound(f *found) string {
	switch f.kind() {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	}
	return "other"
}

// permissionBits are a mode's as chmod(1) writes them.
func permissionBits(mode fs.FileMode) uint32 {
	p := uint32(mode.Perm())
	for bit, value := range map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if mode&bit != 0 {
			p |= value
		}
	}
	return p
}
