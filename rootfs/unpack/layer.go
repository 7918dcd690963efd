// Package unpack applies one image layer, a tar stream from a stranger, to a
// directory of its own in the format that overlayfs mounted with "userxattr"
// expects of a lower layer.
//
// # What an archive may and may not do
//
// Every directory is reached through an open handle and without following a
// symlink on the way, so nothing outside the layer's directory can be read or
// changed, whatever the archive says. Beyond that:
//
//   - A name or hard link target that climbs above the root ("../x",
//     "a/../../x", "/../x") is refused with [ErrEscape].
//   - A leading "/" is dropped from names and hard link targets: both count
//     from the layer's root, as in Docker and containerd.
//   - The target of a symlink is data and kept byte for byte.
//   - A parent directory that is a symlink is followed inside the layer: an
//     absolute target counts from the layer's root, what is missing is made.
//     A relative target that climbs above the root is refused with
//     [ErrEscape], as Docker does.
//   - The last part of a name is never followed: a file that takes the place
//     of a symlink replaces it.
//   - Of several entries with one name the last one wins; only two directories
//     merge.
//   - A hard link must lead to an earlier entry of the same layer.
//   - Extended attributes that only overlayfs or this package may write are
//     not taken from the archive.
//
// The caller keeps the directory above all layers closed to other users (mode
// 0700): a setuid file of an image is a setuid file of the user who unpacked it.
package unpack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// copySize is the number of bytes moved per write of a file's content.
const copySize = 256 << 10

// Layer reads an uncompressed tar stream to its end and applies it to dir,
// which must exist and be empty. Whiteouts become character devices 0/0, or
// where those cannot be made the xattr form of Linux 6.7; an opaque directory
// gets the attribute user.overlay.opaque. Device nodes are left out. What was
// left out or changed is told by the Report, which is filled in as far as
// Layer came also when there is an error; what lies in dir is then good for
// [Remove] only.
//
// The caller is user 0 of a user namespace; without one everything works that
// needs no capability. The process's umask has no influence.
//
// Errors: [ErrArchive], [ErrEscape], [ErrTooLarge], [ErrNoXattr],
// [ErrWhiteout], [*UnmappedIDError], the context's error, any error of r, and
// the errno of a failed system call (syscall.ENOSPC, syscall.EDQUOT), each
// wrapped with the name of the entry.
func Layer(ctx context.Context, r io.Reader, dir string, o Options) (_ Report, err error) {
	t, err := openTree(dir, o)
	if err != nil {
		return Report{}, err
	}
	x := &extractor{ctx: ctx, o: o, tree: t, buf: make([]byte, copySize)}
	defer func() {
		err = errors.Join(err, t.close())
	}()
	m := &meter{ctx: ctx, r: r, budget: o.Budget}
	if err := x.entries(tar.NewReader(buffered(m))); err != nil {
		return x.finish(), err
	}
	if _, err := io.Copy(io.Discard, m); err != nil {
		return x.finish(), fmt.Errorf("read layer: %w", err)
	}
	return x.finish(), nil
}

// extractor is the state of one Layer call.
type extractor struct {
	ctx    context.Context
	o      Options
	tree   *tree
	report Report
	buf    []byte
	tar    *tar.Reader
}

// buffered spares the source the tar reader's many reads of 512 bytes.
func buffered(m *meter) io.Reader {
	if _, ok := m.r.(*ahead); ok {
		return m
	}
	return bufio.NewReaderSize(m, copySize)
}

func (x *extractor) entries(tr *tar.Reader) error {
	x.tar = tr
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read layer: %w", malformed(err))
		}
		if err := x.entry(h); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

func (x *extractor) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // comments, such as git's
		return nil
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	x.report.Entries++
	m, err := markOf(name)
	if err != nil {
		return err
	}
	if m != nil {
		return x.mark(m)
	}
	if name == "." {
		return x.rootEntry(h)
	}
	return x.create(name, h)
}

func (x *extractor) create(name string, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return x.file(name, h)
	case tar.TypeDir:
		return x.directory(name, h)
	case tar.TypeSymlink:
		return x.symlink(name, h)
	case tar.TypeLink:
		return x.hardlink(name, h)
	case tar.TypeFifo:
		return x.fifo(name, h)
	case tar.TypeChar, tar.TypeBlock:
		return x.device(name)
	}
	return fmt.Errorf("%w: entry of unknown type %q", ErrArchive, h.Typeflag)
}

func (x *extractor) finish() Report {
	x.report.Implied, x.report.Unnamed = x.tree.implied.sorted(), x.tree.implied.more
	return x.report
}
