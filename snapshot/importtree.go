package snapshot

import (
	"archive/tar"
	"errors"
	"io"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// treeImporter takes in one tree of an archive. Entries come in the order in which Export writes them: so a directory is
// complete, and gets its mode and times, as soon as something comes that is not in it.
type treeImporter struct {
	*importer
	root   *os.File
	prefix string
	layer  bool

	above  []importedDir // from the root to the directory whose content comes
	parent int           // that directory, open; -1 for none
}

// importedDir is a directory that is being filled.
type importedDir struct {
	name string
	node node
}

// splitEntry takes a name apart: the tree that it belongs to, and the path in there, "." for the top.
func splitEntry(entry string, isDir bool) (prefix, name string, err error) {
	if isDir {
		entry = strings.TrimSuffix(entry, "/")
	}
	elems := strings.Split(entry, "/")
	for _, e := range elems {
		if e == "" || e == "." || e == ".." {
			return "", "", bad("the name is not clean")
		}
	}
	depth := 2
	if elems[0] == imagesName {
		depth = 1
	}
	if len(elems) < depth || len(entry) > maxPath {
		return "", "", bad("the name is too short or too long")
	}
	prefix, name = strings.Join(elems[:depth], "/"), strings.Join(elems[depth:], "/")
	if name == "" {
		name = "."
	}
	return prefix, name, nil
}

func (t *treeImporter) entry(name string, h *tar.Header) error {
	n, err := t.node(h)
	if err != nil {
		return err
	}
	if name == "." {
		if len(t.above) > 0 || n.kind() != unix.S_IFDIR {
			return bad("the top of a tree is a directory, and comes first")
		}
		return t.enter(name, n)
	}
	dir, base := split(name)
	if err := t.leaveTo(dir); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(t.parent, base, 0o700); err != nil {
			return wrap("make directory", err)
		}
		return t.enter(name, n)
	case tar.TypeReg:
		return t.regular(base, h, n)
	case tar.TypeLink:
		return t.link(base, h)
	}
	return n.makeAt(t.parent, base)
}

// enter opens a directory that was just made.
func (t *treeImporter) enter(name string, n *node) error {
	t.above = append(t.above, importedDir{name, *n})
	return t.reopen(name)
}

func (t *treeImporter) reopen(name string) error {
	fd, err := directoryAt(int(t.root.Fd()), name)
	if err != nil {
		return err
	}
	t.closeParent()
	t.parent = fd
	return nil
}

func (t *treeImporter) closeParent() {
	if t.parent >= 0 {
		unix.Close(t.parent)
	}
	t.parent = -1
}

// leaveTo completes directories until the one whose content comes is called name.
func (t *treeImporter) leaveTo(name string) error {
	left := false
	for len(t.above) > 0 && t.above[len(t.above)-1].name != name {
		if err := t.leave(); err != nil {
			return err
		}
		left = true
	}
	if len(t.above) == 0 {
		return bad("its directory does not come right before")
	}
	if left {
		return t.reopen(name)
	}
	return nil
}

// leave completes the innermost directory.
func (t *treeImporter) leave() error {
	last := len(t.above) - 1
	d := t.above[last]
	t.above = t.above[:last]
	fd, err := directoryAt(int(t.root.Fd()), d.name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return d.node.describe(fd)
}

func (t *treeImporter) close() (err error) {
	defer t.root.Close()
	defer t.closeParent()
	for len(t.above) > 0 && err == nil {
		err = t.leave()
	}
	return blamed(err)
}

// node describes what an entry is to become.
func (t *treeImporter) node(h *tar.Header) (*node, error) {
	kind, ok := kinds[h.Typeflag]
	socket := h.PAXRecords[paxSocket]
	switch {
	case h.Typeflag == tar.TypeLink:
		kind = unix.S_IFREG
	case !ok:
		return nil, bad("entry of unknown type %q", h.Typeflag)
	case h.Typeflag == tar.TypeChar && (h.Devmajor != 0 || h.Devminor != 0):
		return nil, bad("it is a device node")
	case socket != "":
		if h.Typeflag != tar.TypeFifo {
			return nil, bad("no socket is of type %q", h.Typeflag)
		}
		kind = unix.S_IFSOCK
	}
	if !isID(h.Uid) || !isID(h.Gid) || h.Mode&^0o7777 != 0 {
		return nil, bad("bad owner %d:%d or mode %#o", h.Uid, h.Gid, h.Mode)
	}
	ts, err := unix.TimeToTimespec(h.ModTime)
	if err != nil {
		return nil, bad("bad time")
	}
	n := &node{mode: kind | uint32(h.Mode), uid: h.Uid, gid: h.Gid, times: [2]unix.Timespec{ts, ts}, target: h.Linkname}
	return n, t.attributes(n, h)
}

// isID tells whether an id exists at all: the highest means "no change".
func isID(id int) bool { return 0 <= id && id < math.MaxUint32 }

// attributes takes those that Export writes.
func (t *treeImporter) attributes(n *node, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxAttribute)
		if !ok {
			continue
		}
		name = unescaped.Replace(name)
		if !goes(name, t.layer) || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			return bad("it must not have the attribute %.100q", name)
		}
		n.attrs = append(n.attrs, attribute{name, value})
	}
	return nil
}

// link gives an earlier file of the tree another name.
func (t *treeImporter) link(base string, h *tar.Header) error {
	prefix, target, err := splitEntry(h.Linkname, false)
	if err != nil || prefix != t.prefix || target == "." {
		return bad("it is a hard link to %.200q, which is not in its tree", h.Linkname)
	}
	dir, from := split(target)
	fd, err := directoryAt(int(t.root.Fd()), dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Linkat(fd, from, t.parent, base, 0)
	if errors.Is(err, unix.EPERM) {
		return bad("it is a hard link to %.200q, which is no file", h.Linkname)
	}
	return wrap("make hard link", err)
}

func (t *treeImporter) regular(base string, h *tar.Header, n *node) error {
	fd, err := handle.Open(t.parent, base, createFlags, 0o600)
	if err != nil {
		return wrap("create", err)
	}
	err = t.fill(fd, h.Size)
	if err == nil {
		err = n.describe(fd)
	}
	return errors.Join(err, wrap("close", unix.Close(fd)))
}

// fill writes the content of the current entry, and leaves holes for zeros.
func (t *treeImporter) fill(fd int, size int64) error {
	for offset := int64(0); offset < size; {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		p := t.buf[:min(size-offset, int64(len(t.buf)))]
		if _, err := io.ReadFull(t.tar, p); err != nil {
			return malformed(err)
		}
		t.contents.sum.Write(p)
		if !isZero(p) {
			if err := pwriteAll(fd, p, offset); err != nil {
				return wrap("write", err)
			}
		}
		offset += int64(len(p))
	}
	return wrap("set size", unix.Ftruncate(fd, size))
}

var zeros [copySize]byte

func isZero(p []byte) bool { return string(p) == string(zeros[:len(p)]) }
