package tree

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// copySize is the number of bytes moved at once.
const copySize = 256 << 10

// impliedMode is that of directories that no entry describes.
const impliedMode = 0o755

// Extract reads a tar stream to its end and makes its entries below a directory, which is made if it is missing.
//
//   - Names count from the directory. One that climbs above it is refused; symlinks on the way are followed inside the
//     container's root.
//   - A file appears under its name with all of its content, in the place of another file. Files and directories do not
//     replace each other; directories merge, and get mode, owner and time of the entry. The directory itself stays as it
//     is if it was there.
//   - Owners, modes, times and the attributes user.* and security.capability are those of the headers. With a single
//     id symlinks and fifos belong to root.
//   - Device nodes are refused: a user namespace cannot make them.
//
// What was made before an error stays.
//
// Errors: CodeBadArchive, CodeUnmappedID, CodeUnsupported, CodeNoSpace, CodeInvalid, CodeNotFound, the context's.
func (r *Root) Extract(ctx context.Context, unsafeDir string, stream io.Reader) (err error) {
	x := &extraction{root: r, ctx: ctx, dir: path.Clean("/" + unsafeDir), buf: make([]byte, copySize)}
	defer func() { err = errors.Join(err, x.close()) }()
	if err := x.begin(); err != nil {
		return failure("copy to", x.dir, err)
	}
	in := bufio.NewReaderSize(stream, copySize)
	x.tar = tar.NewReader(in)
	for {
		h, err := x.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err = errors.Join(ctx.Err(), err); err != nil {
			return failure("copy to", x.dir, err)
		}
		if err := x.entry(h); err != nil {
			return failure("copy", h.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // the padding, which the writer still has to get rid of
		return failure("copy to", x.dir, err)
	}
	return x.finish()
}

// extraction is the state of one Extract call.
type extraction struct {
	root *Root
	ctx  context.Context
	dir  string // where names count from
	made bool   // dir was missing
	tar  *tar.Reader
	buf  []byte

	// parent is the directory that was used last, which mostly is used again.
	parent     *os.File
	parentPath string
	times      []dirTime
}

// dirTime is what a directory's time is to be once everything in it is made.
type dirTime struct {
	path     string
	dev, ino uint64
	time     time.Time
}

func (x *extraction) begin() error {
	found, err := x.root.handle(x.dir, true)
	if err == nil {
		return found.Close()
	}
	x.made = true
	_, err = x.directory(x.dir)
	return err
}

func (x *extraction) close() error {
	if x.parent == nil {
		return nil
	}
	return x.parent.Close()
}

// directory opens a directory of the container and makes what is missing of it. It is good until the next call.
func (x *extraction) directory(unsafePath string) (*os.File, error) {
	if x.parent != nil && x.parentPath == unsafePath {
		return x.parent, nil
	}
	dir, err := pathrs.MkdirAllHandle(x.root.dir, unsafePath, impliedMode)
	if err != nil {
		return nil, err
	}
	if x.parent != nil {
		x.parent.Close()
	}
	x.parent, x.parentPath = dir, unsafePath
	return dir, nil
}

// clean makes a name of the archive relative to the directory; that itself is ".".
func clean(unsafeName string) (string, error) {
	if len(unsafeName) >= unix.PathMax {
		return "", unix.ENAMETOOLONG
	}
	name := path.Clean(strings.TrimLeft(unsafeName, "/"))
	if name == ".." || strings.HasPrefix(name, "../") {
		return "", sandbox.Errorf(sandbox.CodeBadArchive, "copy %q: the name leads out of the directory that is copied to", unsafeName)
	}
	return name, nil
}

func (x *extraction) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // comments, such as git's
		return nil
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return x.top(h)
	}
	parent, err := x.directory(path.Join(x.dir, path.Dir(name)))
	if err != nil {
		return err
	}
	return x.create(parent, path.Base(name), h)
}

// top is an entry for the directory itself.
func (x *extraction) top(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return unix.EISDIR
	}
	if !x.made {
		return nil
	}
	dir, err := x.directory(x.dir)
	if err != nil {
		return err
	}
	return x.describeDirectory(dir, x.dir, h)
}

func (x *extraction) create(parent *os.File, base string, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return place(parent, base, func(base string) error { return x.file(parent, base, h) })
	case tar.TypeDir:
		return x.mkdir(parent, base, h)
	case tar.TypeSymlink:
		return place(parent, base, func(base string) error { return x.symlink(parent, base, h) })
	case tar.TypeFifo:
		return place(parent, base, func(base string) error { return x.fifo(parent, base, h) })
	case tar.TypeLink:
		return x.hardlink(parent, base, h)
	case tar.TypeChar, tar.TypeBlock:
		return sandbox.Errorf(sandbox.CodeUnsupported, "copy %q: device nodes cannot be made in a user namespace", h.Name).WithRemedy("leave it out of the archive")
	}
	return sandbox.Errorf(sandbox.CodeBadArchive, "copy %q: entry of unknown type %q", h.Name, h.Typeflag)
}

// finish sets the times of directories, the deepest first. One that was replaced meanwhile is left alone.
func (x *extraction) finish() error {
	for i := len(x.times) - 1; i >= 0; i-- {
		t := x.times[i]
		dir, err := x.root.handle(t.path, false)
		if err != nil {
			continue
		}
		st, err := fstat(dir)
		if err == nil && st.Dev == t.dev && st.Ino == t.ino {
			err = setTime(dir, t.time)
		}
		dir.Close()
		if err != nil {
			return failure("set the time of", t.path, err)
		}
	}
	return nil
}
