package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// describer is a visitor that makes a digest of all that a copy of the files depends on.
type describer struct {
	ctx    context.Context
	folder *folder
	hash   hash.Hash
	links  firstNames
	files  int
}

func newDescriber(ctx context.Context, f *folder) *describer {
	return &describer{ctx: ctx, folder: f, hash: sha256.New()}
}

func (d *describer) sum() string { return hex.EncodeToString(d.hash.Sum(nil)) }

func (d *describer) line(format string, args ...any) { fmt.Fprintf(d.hash, format+"\n", args...) }

// begin is told of each item before it is walked.
func (d *describer) begin(i *item) {
	d.links = firstNames{}
	if i.isDir() {
		d.line("directory")
	} else {
		d.line("file %q", i.base)
	}
}

func (d *describer) directory(f *file) error {
	if f.path == "" { // it is not copied, what is in it is
		return nil
	}
	d.files++
	meta, err := d.meta(f)
	if err != nil {
		return err
	}
	d.line("d %q %o %s", f.path, f.stat.Mode&0o7777, meta)
	return nil
}

func (d *describer) leave(*file) error { return nil }

func (d *describer) regular(f *file) error {
	d.files++
	if first := d.links.of(f); first != "" {
		d.line("h %q %q", f.path, first)
		return nil
	}
	content, err := d.folder.known.of(d.ctx, f)
	if err != nil {
		return err
	}
	meta, err := d.meta(f)
	if err != nil {
		return err
	}
	d.line("f %q %o %x %s", f.path, f.stat.Mode&0o7777, content, meta)
	return nil
}

func (d *describer) symlink(f *file) error {
	d.files++
	target, err := f.readlink()
	if err != nil {
		return err
	}
	var o handle.Owner // with a single id symlinks have none
	if d.folder.layers && !d.folder.single {
		o = handle.Owner{UID: f.stat.Uid, GID: f.stat.Gid}
	}
	d.line("l %q %q %v", f.path, target, o)
	return nil
}

// meta describes owner and attributes, which only files of layers have.
func (d *describer) meta(f *file) (string, error) {
	if !d.folder.layers {
		return "", nil
	}
	opened, err := f.open()
	if err != nil {
		return "", err
	}
	defer opened.Close()
	attrs, err := attributes(opened)
	return fmt.Sprintf("%v %q", ownerOf(opened, &f.stat, d.folder.single), attrs), err
}

// firstNames are, of files with several names, those that a walk came to first.
type firstNames map[[2]uint64]string

// of returns the first name of a file, or nothing for a name that is the first or only one.
func (n firstNames) of(f *file) string {
	if f.stat.Nlink < 2 || f.kind() != unix.S_IFREG || f.path == "" {
		return ""
	}
	id := [2]uint64{f.stat.Dev, f.stat.Ino}
	if first, ok := n[id]; ok {
		return first
	}
	n[id] = f.path
	return ""
}
