package snapshot

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// ImportOptions say how a snapshot is taken in.
type ImportOptions struct {
	// Name replaces that of the archive unless empty.
	Name string
	// Check is called with what the archive says before anything is written, and may refuse it, or change Key and Detail.
	Check func(*Meta) error
}

// maxLayers is the number of lower layers that the kernel can stack.
const maxLayers = 500

// Import reads a stream that Export wrote, and lists the snapshot, with an id of its own. The stream may be hostile: it is
// taken only as Export writes it, and all of it or nothing.
//
// Errors: BadArchive if the stream is malformed, changed or ends early; UnmappedID; NoXattr; NoSpace; those of Check and r;
// the context's.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) (*Snapshot, error) {
	im := &importer{ctx: ctx, tar: tar.NewReader(bufio.NewReaderSize(r, copySize)), contents: newContents(), buf: make([]byte, copySize)}
	sn, err := im.snapshot(s, o)
	return sn, coded(err, "import a snapshot")
}

func bad(format string, args ...any) error {
	return fail(rootfs.BadArchive, "export it again", format, args...)
}

// malformed blames the archive for what tar complains about, and leaves errors of the source as they are.
func malformed(err error) error {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return bad("the archive ends early")
		}
	}
	for _, e := range []error{tar.ErrHeader, tar.ErrFieldTooLong, tar.ErrInsecurePath} {
		if errors.Is(err, e) {
			return bad("%w", err)
		}
	}
	return err
}

// importer is the state of one Import call.
type importer struct {
	ctx      context.Context
	tar      *tar.Reader
	contents *contents
	buf      []byte

	draft  *Draft
	layers int            // of the archive
	made   int            // how many of them came
	trees  map[string]int // those that did not come, by the beginning of their names
	images bool
	tree   *treeImporter
}

func (im *importer) snapshot(s *Store, o ImportOptions) (*Snapshot, error) {
	meta, err := im.begin(o)
	if err != nil {
		return nil, err
	}
	if im.draft, err = s.Draft(im.ctx, nil); err != nil {
		return nil, err
	}
	sn, err := im.finish(meta)
	return sn, errors.Join(err, im.draft.Discard())
}

func (im *importer) finish(meta *Meta) (_ *Snapshot, err error) {
	defer func() { err = errors.Join(err, im.close()) }()
	if err := im.entries(); err != nil {
		return nil, err
	}
	if im.made != im.layers || len(im.trees) > 0 || im.images != meta.HasImages {
		return nil, bad("not everything is in the archive that it says")
	}
	sn, err := im.draft.Finish(*meta)
	if err != nil {
		return nil, err
	}
	return sn, sn.Publish()
}

// begin reads what the archive says of itself.
func (im *importer) begin(o ImportOptions) (*Meta, error) {
	var a archived
	b, err := im.text(recordName)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, bad("%s: %w", recordName, err)
	}
	if a.Format != format {
		return nil, bad("its format is %d, this version reads %d", a.Format, format)
	}
	if a.Meta.Detail, err = im.text(detailName); err != nil {
		return nil, err
	}
	if im.layers = a.Layers; im.layers < 1 || im.layers > maxLayers {
		return nil, bad("it has %d layers", a.Layers)
	}
	im.trees = map[string]int{}
	for _, t := range a.Meta.Trees {
		im.trees[fmt.Sprintf("%s/%d", treesName, t.N)] = t.N
	}
	if o.Name != "" {
		a.Meta.Name = o.Name
	}
	if o.Check != nil {
		if err := o.Check(&a.Meta); err != nil {
			return nil, err
		}
	}
	return &a.Meta, a.Meta.check()
}

// text reads an entry into memory.
func (im *importer) text(name string) ([]byte, error) {
	h, err := im.tar.Next()
	if err != nil {
		return nil, malformed(err)
	}
	if h.Name != name || h.Typeflag != tar.TypeReg || h.Size > maxRecord {
		return nil, bad("%q is not where it belongs", name)
	}
	im.contents.entry(h)
	var b bytes.Buffer
	if _, err := io.Copy(io.MultiWriter(&b, im.contents.sum), im.tar); err != nil {
		return nil, malformed(err)
	}
	return b.Bytes(), nil
}

// entries takes in all trees, up to the digest.
func (im *importer) entries() error {
	for {
		if err := im.ctx.Err(); err != nil {
			return err
		}
		h, err := im.tar.Next()
		if err != nil {
			return malformed(err)
		}
		if h.Name == digestName {
			return im.end(h)
		}
		if err := im.entry(h); err != nil {
			return coded(blamed(err), "%.200q", h.Name)
		}
	}
}

// end checks the digest, the last entry.
func (im *importer) end(h *tar.Header) error {
	want := im.contents.String()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(im.tar, got); err != nil || h.Typeflag != tar.TypeReg || h.Size != int64(len(want)) || string(got) != want {
		return bad("the archive was changed: it does not fit its digest")
	}
	if _, err := im.tar.Next(); !errors.Is(err, io.EOF) {
		return bad("there is something behind the archive's end")
	}
	return im.close()
}

// close completes the tree that was taken in last.
func (im *importer) close() error {
	if im.tree == nil {
		return nil
	}
	t := im.tree
	im.tree = nil
	return t.close()
}

// blamed blames the archive for errors of system calls that only its entries can have caused: the directories that they
// are made in are new.
func blamed(err error) error {
	var known *Error
	faults := []unix.Errno{
		unix.EEXIST, unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.EINVAL, unix.EMLINK,
		unix.E2BIG, unix.ERANGE, unix.EXDEV,
	}
	if !errors.As(err, &known) && slices.ContainsFunc(faults, func(e unix.Errno) bool { return errors.Is(err, e) }) {
		return bad("%w", err)
	}
	return err
}

func (im *importer) entry(h *tar.Header) error {
	for key := range h.PAXRecords {
		if !isOurs(key) && !slices.Contains(headerRecords, key) {
			return bad("unknown record %.100q", key)
		}
	}
	im.contents.entry(h)
	prefix, name, err := splitEntry(h.Name, h.Typeflag == tar.TypeDir)
	if err != nil {
		return err
	}
	if im.tree == nil || im.tree.prefix != prefix {
		if err := im.next(prefix); err != nil {
			return err
		}
	}
	return im.tree.entry(name, h)
}

// headerRecords are the records that only hold what does not fit into a header.
var headerRecords = []string{"path", "linkpath", "size", "uid", "gid", "mtime"}

// next begins a tree.
func (im *importer) next(prefix string) error {
	if err := im.close(); err != nil {
		return err
	}
	dir, layer, err := im.begins(prefix)
	if err != nil {
		return err
	}
	root, err := handle.OpenDir(dir)
	if err != nil {
		return err
	}
	im.tree = &treeImporter{importer: im, root: root, prefix: prefix, layer: layer, parent: -1}
	return nil
}

// begins makes the directory of a tree.
func (im *importer) begins(prefix string) (dir string, layer bool, err error) {
	n, isTree := im.trees[prefix]
	switch {
	case prefix == fmt.Sprintf("%s/%d", layersName, im.made) && im.made < im.layers:
		im.made++
		if im.made == 1 {
			return im.draft.Layer(), true, nil
		}
		dir, err = im.draft.addLayer()
		return dir, true, err
	case prefix == imagesName && !im.images:
		im.images = true
		dir, err = im.draft.Images()
		return dir, false, err
	case isTree:
		delete(im.trees, prefix)
		dir, err = im.draft.Tree(n)
		return dir, false, err
	}
	return "", false, bad("%q is not what comes next", prefix)
}
