package snapshot

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// Export writes the snapshot, with all layers that it refers to, as a tar stream that Import reads. It is held meanwhile,
// and verified before.
//
// Errors: NotFound; Stale; those of w; the context's.
func (sn *Snapshot) Export(ctx context.Context, w io.Writer) error {
	hold, err := sn.Hold()
	if err != nil {
		return err
	}
	defer hold.Release()
	if err := sn.Verify(ctx); err != nil {
		return err
	}
	e := &exporter{ctx: ctx, tar: tar.NewWriter(w), contents: newContents()}
	return coded(e.snapshot(sn), "export snapshot %s", short(sn.id))
}

// exporter is the state of one Export call.
type exporter struct {
	ctx      context.Context
	tar      *tar.Writer
	contents *contents
}

func (e *exporter) snapshot(sn *Snapshot) error {
	meta, layers := sn.Meta(), sn.Layers()
	b, err := json.Marshal(archived{format, meta, len(layers)})
	if err != nil {
		return err
	}
	if err := errors.Join(e.text(recordName, b), e.text(detailName, meta.Detail)); err != nil {
		return err
	}
	for i, dir := range layers {
		if err := e.tree(dir, path.Join(layersName, strconv.Itoa(i)), true); err != nil {
			return err
		}
	}
	if meta.HasImages {
		if err := e.tree(sn.Images(), imagesName, false); err != nil {
			return err
		}
	}
	for _, t := range meta.Trees {
		if err := e.tree(sn.Tree(t.N), path.Join(treesName, strconv.Itoa(t.N)), false); err != nil {
			return err
		}
	}
	return errors.Join(e.text(digestName, []byte(e.contents.String())), e.tar.Close())
}

func (e *exporter) text(name string, content []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	return e.entry(h, bytes.NewReader(content))
}

// entry writes an entry, with as much content as its header says.
func (e *exporter) entry(h *tar.Header, content io.Reader) error {
	e.contents.entry(h)
	if err := e.tar.WriteHeader(h); err != nil || h.Size == 0 {
		return err
	}
	_, err := io.CopyN(io.MultiWriter(e.tar, e.contents.sum), content, h.Size)
	if errors.Is(err, io.EOF) {
		err = errors.New("it became shorter while it was read")
	}
	return err
}

// tree writes a directory and all that is in it.
func (e *exporter) tree(dir, prefix string, layer bool) error {
	root, err := handle.OpenDir(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := &treeExporter{exporter: e, root: int(root.Fd()), prefix: prefix, layer: layer, links: map[inode]string{}, todo: []string{"."}}
	for len(t.todo) > 0 {
		last := len(t.todo) - 1
		name := t.todo[last]
		t.todo = t.todo[:last]
		if err := t.directory(name); err != nil {
			return fmt.Errorf("%s: %w", t.path(name), err)
		}
	}
	return nil
}

// treeExporter writes one tree.
type treeExporter struct {
	*exporter
	root   int
	prefix string
	layer  bool
	links  map[inode]string // first names of files that have several
	todo   []string         // directories, the next one last
}

func (t *treeExporter) path(name string) string { return path.Join(t.prefix, name) }

func (t *treeExporter) directory(name string) error {
	fd, err := directoryAt(t.root, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	st, err := statusOf(fd)
	if err != nil {
		return err
	}
	h := header(&st, t.path(name)+"/", tar.TypeDir)
	if err := t.attributes(h, fd); err != nil {
		return err
	}
	if err := t.entry(h, nil); err != nil {
		return err
	}
	return t.content(fd, name)
}

// content writes what is in a directory, but for directories, which are left for later.
func (t *treeExporter) content(fd int, name string) error {
	var all, below []string
	for batch, err := range handle.Names(fd) {
		if err != nil {
			return err
		}
		all = append(all, batch...)
	}
	slices.Sort(all)
	for _, base := range all {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		isDir, err := t.file(fd, base, join(name, base))
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
		if isDir {
			below = append(below, join(name, base))
		}
	}
	slices.Reverse(below)
	t.todo = append(t.todo, below...)
	return nil
}

// types are the entries of kinds of files that are not opened.
var types = map[uint32]byte{
	unix.S_IFLNK: tar.TypeSymlink, unix.S_IFIFO: tar.TypeFifo, unix.S_IFSOCK: tar.TypeFifo, unix.S_IFCHR: tar.TypeChar,
}

func header(st *status, name string, kind byte) *tar.Header {
	return &tar.Header{
		Typeflag: kind, Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)), Format: tar.FormatPAX, // for fractions of seconds
		PAXRecords: map[string]string{},
	}
}

func (t *treeExporter) file(dir int, base, name string) (isDir bool, err error) {
	fd, err := handleAt(dir, base)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	st, err := statusOf(fd)
	if err != nil || st.isDir() {
		return err == nil, err
	}
	if st.Nlink > 1 && !st.isWhiteout() {
		if first, ok := t.links[st.inode()]; ok {
			return false, t.entry(&tar.Header{Typeflag: tar.TypeLink, Name: t.path(name), Linkname: t.path(first), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}, nil)
		}
		t.links[st.inode()] = name
	}
	if st.kind() == unix.S_IFREG {
		return false, t.regular(fd, &st, name)
	}
	return false, t.unopened(fd, &st, name)
}

func (t *treeExporter) unopened(fd int, st *status, name string) (err error) {
	kind, ok := types[st.kind()]
	if !ok || kind == tar.TypeChar && !st.isWhiteout() {
		return errors.New("it is a device node")
	}
	h := header(st, t.path(name), kind)
	if st.kind() == unix.S_IFLNK {
		if h.Linkname, err = readLink(fd); err != nil {
			return err
		}
	}
	if st.kind() == unix.S_IFSOCK {
		h.PAXRecords[paxSocket] = "y"
	}
	return t.entry(h, nil)
}

func (t *treeExporter) regular(opened int, st *status, name string) error {
	fd, err := reopen(opened)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	h := header(st, t.path(name), tar.TypeReg)
	h.Size = int64(st.Size)
	if err := t.attributes(h, fd); err != nil {
		return err
	}
	return t.entry(h, f)
}

func (t *treeExporter) attributes(h *tar.Header, fd int) error {
	attrs, err := attributesOf(fd, t.layer)
	for _, a := range attrs {
		h.PAXRecords[paxAttribute+escaped.Replace(a.name)] = a.value
	}
	return err
}
