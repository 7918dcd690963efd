package pack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Options say what of a directory is packed. The zero value packs all of it.
type Options struct {
	// Single says that owners are in the attribute user.rootlesscontainers, as only id 0 is mapped.
	Single bool

	// Omit are paths, from the root, that are left out with all below them. So are directories that lead there if they have
	// nothing else in them and are as in Lower.
	Omit []string

	// Lower are the layers below, lowest first. They tell which directories are as they were. Without any, those that lead to
	// Omit count as such.
	Lower []string

	// Latest is the latest time of modification; later ones become this one. Zero: none does.
	Latest time.Time

	// Adopt also makes a lower directory of the directory: what is left out is removed, later times are set, and attributes
	// that overlayfs keeps for itself are taken away. Nobody else uses it.
	Adopt bool
}

// Report tells what a layer holds.
type Report struct {
	Entries int   // headers of the stream
	Bytes   int64 // content of regular files, holes included

	Sockets unpack.Omission // left out
	Marks   unpack.Omission // files that are called like whiteouts, left out
	Xattrs  unpack.Omission // files with too many extended attributes, which have none in the stream
}

// Notes are the lines that a user should see, in a fixed order.
func (r Report) Notes() []string {
	var notes []string
	for _, n := range []struct {
		what string
		o    unpack.Omission
	}{
		{"left out %d sockets: %s", r.Sockets},
		{"left out %d files that are called like whiteouts: %s", r.Marks},
		{"dropped the extended attributes of %d files, which have too many: %s", r.Xattrs},
	} {
		if n.o.Count > 0 {
			notes = append(notes, fmt.Sprintf(n.what, n.o.Count, n.o))
		}
	}
	return notes
}

// ErrTooLong marks a path that no program could name in one piece (PATH_MAX).
var ErrTooLong = errors.New("path is too long for an archive")

// Layer writes the tar stream of dir to w, its end included. The caller is user 0 of a user namespace which has the owners
// of the files; without one everything works that needs no capability.
//
// Errors: [ErrTooLong], the context's error, any error of w, and the errno of a failed system call, each with the name of
// the file.
func Layer(ctx context.Context, w io.Writer, dir string, o Options) (_ Report, err error) {
	p := &packer{ctx: ctx, o: o, tar: tar.NewWriter(w), w: w, links: map[inode]string{}, buf: make([]byte, copySize)}
	if p.root, err = handle.Open(unix.AT_FDCWD, dir, handle.DirFlags, 0); err != nil {
		return p.report, fmt.Errorf("open directory %q: %w", dir, err)
	}
	defer func() { err = errors.Join(err, unix.Close(p.root), p.lower.close()) }()
	if p.lower, err = openLower(o.Lower); err != nil {
		return p.report, err
	}
	p.plan()
	if err := p.directory("."); err != nil {
		return p.report, err
	}
	if err := p.settle(); err != nil {
		return p.report, err
	}
	return p.report, p.tar.Close()
}

// copySize is the number of bytes that are read at once.
const copySize = 256 << 10

// packer is the state of one Layer call.
type packer struct {
	ctx    context.Context
	o      Options
	w      io.Writer
	tar    *tar.Writer
	root   int
	lower  layers
	report Report
	buf    []byte
	links  map[inode]string // the first names of files that have several
	omit   map[string]bool
	way    map[string]bool // directories that lead to what is omitted
	late   []stamp         // directories whose time is to be set at the end
}

type inode struct{ dev, ino uint64 }

// plan notes what is to be left out.
func (p *packer) plan() {
	p.omit, p.way = map[string]bool{}, map[string]bool{}
	for _, name := range p.o.Omit {
		name = path.Clean("/" + name)[1:]
		if name == "" {
			continue
		}
		p.omit[name] = true
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			p.way[dir] = true
		}
	}
}

// directory packs a directory of the tree, whose handle is open only while its own files are packed.
func (p *packer) directory(name string) error {
	fd, err := p.openBelow(name)
	if handle.Gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open directory %q: %w", name, err)
	}
	dirs, err := p.openDirectory(fd, name)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	for _, base := range dirs {
		if err := p.directory(path.Join(name, base)); err != nil {
			return err
		}
	}
	return p.cut(name, dirs)
}

// openDirectory packs a directory itself and its files, and returns its directories.
func (p *packer) openDirectory(fd int, name string) (dirs []string, err error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err
	}
	d := &dir{fd: fd, name: name}
	if err := d.read(); err != nil {
		return nil, fmt.Errorf("read directory %q: %w", name, err)
	}
	if skip, err := p.unchanged(d); skip || err != nil {
		return nil, err
	}
	if err := p.describe(d); err != nil {
		return nil, fmt.Errorf("pack directory %q: %w", name, err)
	}
	for _, base := range d.names {
		isDir, err := p.entry(d, base)
		if err != nil {
			return nil, fmt.Errorf("pack %q: %w", path.Join(name, base), err)
		}
		if isDir {
			dirs = append(dirs, base)
		}
	}
	return dirs, p.adopted(d)
}

// dir is an open directory of the tree.
type dir struct {
	fd    int
	name  string
	st    unix.Stat_t
	attrs attributes
	names []string // sorted
	cut   bool     // something was removed from it
}

func (d *dir) read() (err error) {
	if err = unix.Fstat(d.fd, &d.st); err != nil {
		return err
	}
	if d.attrs, err = readAttributes(d.fd); err != nil {
		return err
	}
	if d.names, err = list(d.fd); err == nil {
		slices.Sort(d.names)
	}
	return err
}

// unchanged tells of a directory that was only made or copied to lead to what is left out.
func (p *packer) unchanged(d *dir) (bool, error) {
	if !p.way[d.name] {
		return false, nil
	}
	for _, base := range d.names {
		if child := path.Join(d.name, base); !p.omit[child] {
			if bare, err := p.bare(child); !bare || err != nil {
				return false, err
			}
		}
	}
	return p.asBelow(d)
}

// bare tells of a directory below that is [packer.unchanged].
func (p *packer) bare(name string) (bool, error) {
	if !p.way[name] {
		return false, nil
	}
	fd, err := p.openBelow(name)
	if handle.Gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	d := &dir{fd: fd, name: name}
	if err := d.read(); err != nil {
		return false, err
	}
	return p.unchanged(d)
}

// describe writes the entries of the directory itself. The root has one only if it is not what every layer's root is.
func (p *packer) describe(d *dir) error {
	h := p.header(d.name+"/", &d.st, d.attrs)
	h.Typeflag = tar.TypeDir
	if d.name == "." {
		if h.Name = "./"; isPlain(h) {
			return nil
		}
	}
	if err := p.write(h); err != nil {
		return err
	}
	if !d.attrs.opaque() || d.name == "." {
		return nil
	}
	hides, err := p.hides(d.name)
	if !hides || err != nil {
		return err
	}
	return p.mark(path.Join(d.name, opaqueName))
}

// isPlain tells whether a root is what a layer's is without an entry.
func isPlain(h *tar.Header) bool {
	return h.Mode == 0o755 && h.Uid == 0 && h.Gid == 0 && len(h.PAXRecords) == 0
}

// entry packs a file. Directories are left to the caller.
func (p *packer) entry(d *dir, base string) (isDir bool, err error) {
	name := path.Join(d.name, base)
	if p.omit[name] {
		return false, p.remove(d, base)
	}
	if len(name) >= unix.PathMax {
		return false, ErrTooLong
	}
	f := &file{dir: d, base: base, name: name}
	if err := unix.Fstatat(d.fd, base, &f.st, unix.AT_SYMLINK_NOFOLLOW); handle.Gone(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if hasPrefix(base) {
		p.report.Marks.Add(name)
		return false, p.remove(d, base)
	}
	if f.kind() == unix.S_IFDIR {
		return true, nil
	}
	return false, p.file(f)
}
