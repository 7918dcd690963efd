package unpack

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// Lower is an unpacked layer of an image.
type Lower struct {
	Dir     string   // what [Layer] filled
	Implied []string // from its [Report]
}

// Parents fills dir, which must exist and be empty, with directories that on
// top of the layers, given lowest first, put right what a layer hides by a
// directory that it uses without describing it: mode, owner, times and
// attributes of that directory in the layers below, as in containerd. It
// returns how many there are; none if nothing is hidden.
//
// Errors: the errno of a failed system call.
func Parents(dir string, layers []Lower) (int, error) {
	p := parents{found: map[string]metadata{}}
	for _, l := range layers {
		set := map[string]bool{}
		for _, name := range l.Implied {
			set[name] = true
		}
		p.implied = append(p.implied, set)
	}
	for _, l := range layers {
		for _, name := range l.Implied {
			if err := p.look(layers, name); err != nil {
				return 0, fmt.Errorf("look up directory %q in the layers: %w", name, err)
			}
		}
	}
	return len(p.found), p.write(dir)
}

// parents are what the layers say of some directories.
type parents struct {
	implied []map[string]bool // by layer
	found   map[string]metadata
}

// look finds what holds for the directory name and those that lead there, if
// that is not what its topmost layer says.
func (p *parents) look(layers []Lower, name string) error {
	if _, done := p.found[name]; done {
		return nil
	}
	s, err := openRoots(layers)
	way := map[string]metadata{}
	hidden := false
	for at := "."; err == nil && len(s) > 0; {
		var source int
		if source, err = s.describe(p.implied, at, way); err != nil {
			break
		}
		if at == name {
			hidden = source > 0
			break
		}
		at = next(at, name)
		s, err = s.down(filepath.Base(at))
	}
	if hidden {
		maps.Copy(p.found, way)
	}
	return errors.Join(err, s.close())
}

// next is the directory on the way to name that follows at.
func next(at, name string) string {
	start := 0
	if at != "." {
		start = len(at) + 1
	}
	if i := strings.IndexByte(name[start:], '/'); i >= 0 {
		return name[:start+i]
	}
	return name
}

// stack is one directory as it is in some layers, topmost first: those that
// overlayfs merges.
type stack []stacked

type stacked struct{ fd, layer int }

func openRoots(layers []Lower) (s stack, err error) {
	for i, l := range slices.Backward(layers) {
		fd, err := handle.Open(unix.AT_FDCWD, l.Dir, handle.DirFlags, 0)
		if err != nil {
			return s, fmt.Errorf("open layer directory %q: %w", l.Dir, err)
		}
		s = append(s, stacked{fd, i})
		if handle.IsOpaque(fd) {
			break
		}
	}
	return s, nil
}

// down goes to a directory below, and closes where it was. Whatever else has
// that name, a whiteout too, hides the layers below.
func (s stack) down(component string) (below stack, err error) {
	for _, e := range s {
		fd, err := handle.Open(e.fd, component, handle.DirFlags, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			break
		}
		if err != nil {
			return below, errors.Join(err, s.close())
		}
		below = append(below, stacked{fd, e.layer})
		if handle.IsOpaque(fd) {
			break
		}
	}
	return below, s.close()
}

func (s stack) close() error {
	var errs []error
	for _, e := range s {
		errs = append(errs, unix.Close(e.fd))
	}
	return errors.Join(errs...)
}

// describe notes what the topmost layer that describes a directory says of it,
// and returns that layer's place in the stack. If no layer does, that is 0.
func (s stack) describe(implied []map[string]bool, name string, to map[string]metadata) (source int, err error) {
	source = max(0, slices.IndexFunc(s, func(e stacked) bool { return !implied[e.layer][name] }))
	to[name], err = metadataOf(s[source].fd)
	return source, err
}

// metadata is all there is to a directory but its content.
type metadata struct {
	st    unix.Stat_t
	attrs map[string]string
}

func metadataOf(fd int) (m metadata, err error) {
	if err := unix.Fstat(fd, &m.st); err != nil {
		return m, wrap("stat directory", err)
	}
	m.attrs, err = imageAttrs(fd)
	return m, err
}

// write makes the directories, and then gives them their metadata from below:
// what is made in a directory changes its times.
func (p *parents) write(dir string) error {
	names := slices.Sorted(maps.Keys(p.found))
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil && name != "." {
			return err
		}
	}
	for _, name := range slices.Backward(names) {
		if err := p.found[name].apply(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("describe directory %q: %w", name, err)
		}
	}
	return nil
}

func (m metadata) apply(dir string) error {
	fd, err := handle.Open(unix.AT_FDCWD, dir, handle.DirFlags, 0)
	if err != nil {
		return err
	}
	return errors.Join(m.set(fd), wrap("close directory", unix.Close(fd)))
}

// set keeps the order of [extractor.describe].
func (m metadata) set(fd int) error {
	if err := unix.Fchown(fd, int(m.st.Uid), int(m.st.Gid)); err != nil {
		return wrap("set owner", err)
	}
	if err := unix.Fchmod(fd, m.st.Mode&0o7777); err != nil {
		return wrap("set mode", err)
	}
	for attr, value := range m.attrs {
		if err := setOwnXattr(fd, attr, value); err != nil {
			return err
		}
	}
	ts := times{m.st.Atim, m.st.Mtim}
	return ts.set(fd)
}

// imageAttrs are the attributes of a file that are the image's, and that of its
// owner.
func imageAttrs(fd int) (map[string]string, error) {
	return handle.Attributes(fd, func(attr string) bool { return attr == handle.OwnerAttribute || Welcome(attr) })
}
