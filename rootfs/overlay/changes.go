package overlay

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// ChangeKind says how a path differs from the layers below.
type ChangeKind string

// The kinds, by the letters of `docker diff`.
const (
	Added    ChangeKind = "A"
	Modified ChangeKind = "C"
	Deleted  ChangeKind = "D"
)

// Change is one path that differs.
type Change struct {
	Path string // absolute; any bytes but NUL
	Kind ChangeKind
}

// Diff compares the upper directory of an overlay with its lower layers. The overlay may be mounted and in use: what
// changes meanwhile is reported as it was or as it is.
type Diff struct {
	// Lower and Upper are those of [Options].
	Lower []string
	Upper string

	// At is where the overlay is mounted: the other paths here, and those of changes, are below it. Empty means "/".
	At string

	// Whole says that Upper is no overlay's: what it lacks of Lower was deleted.
	Whole bool

	// Covered are paths on which something else is mounted. They are not reported, nor is what lies below them, nor what
	// was made to lead there.
	Covered []string

	// Made are directories that were made for the container if they were missing, with mode 0755 and owner 0:0. As long
	// as they are like that, neither they nor those that lead there are reported.
	Made []string

	// Adopted says that files of Lower were copied to Upper before its use, directories with other times and without
	// setgid, and all of them from an owner without a mapping to owner 0:0.
	Adopted bool
}

// ErrTooManyChanges tells that the changes of an overlay do not fit into memory that is worth spending on them.
var ErrTooManyChanges = errors.New("there are too many changed files to list")

// Bounds of what is listed.
const (
	maxChanges     = 1 << 20
	maxChangeBytes = 64 << 20 // of all paths
)

// Changes lists what is different, sorted by path, like `docker diff`:
//
//   - Files are compared by type, mode, owner, size and modification time, and by the attributes that hold an emulated
//     owner and capabilities; symlinks by where they lead. What was only copied up is no change.
//   - A directory is changed if its own metadata is, which adding or removing a name in it does to its modification time.
//   - Everything in an added directory is listed, and nothing in a deleted one.
//   - A path of another type than below is changed.
//
// The root itself is not listed, but for one that is Adopted and not at "/". Directories are not entered whose
// path no program could name (PATH_MAX).
//
// Errors: [ErrTooManyChanges], the context's error, and the errno of a failed system call.
func (d Diff) Changes(ctx context.Context) (_ []Change, err error) {
	c := newComparison(d)
	if slices.Contains(c.covered, ".") {
		return nil, nil
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.open(); err != nil {
		return nil, err
	}
	for len(c.todo) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := c.todo[len(c.todo)-1]
		c.todo = c.todo[:len(c.todo)-1]
		if err := c.directory(name); err != nil {
			return nil, fmt.Errorf("compare %q with the layers below: %w", d.path(name), err)
		}
	}
	return c.sorted(), nil
}

// path is the absolute form of a name below [Diff.At].
func (d Diff) path(name string) string { return path.Join("/", d.At, name) }

// name is the form of a path below [Diff.At]; what leads there, or is there, is ".".
func (d Diff) name(p string) (name string, ok bool) {
	p, at := path.Clean("/"+p), path.Clean("/"+d.At)
	if p == "/" || p == at || strings.HasPrefix(at, p+"/") {
		return ".", true
	}
	if at == "/" {
		return p[1:], true
	}
	return strings.CutPrefix(p, at+"/")
}

// comparison is the state of one Changes call. Names in it are relative to the roots.
type comparison struct {
	Diff
	upper   int
	lower   merged
	covered []string
	todo    []string        // directories of upper to enter
	way     map[string]bool // directories that lead to what is Covered or Made, and the latter
	loose   map[string]bool // unchanged directories whose time says nothing
	found   []Change        // by name
	bytes   int
}

func newComparison(d Diff) *comparison {
	c := &comparison{Diff: d, upper: -1, todo: []string{"."}, way: map[string]bool{}, loose: map[string]bool{}}
	c.loose["."] = d.Adopted && d.path(".") != "/"
	for _, p := range d.Covered {
		if name, ok := d.name(p); ok {
			c.covered = append(c.covered, name)
			c.leads(path.Dir(name))
		}
	}
	for _, p := range d.Made {
		if name, ok := d.name(p); ok {
			c.leads(name)
		}
	}
	return c
}

// leads notes a directory and those above it.
func (c *comparison) leads(name string) {
	for ; name != "."; name = path.Dir(name) {
		c.way[name] = true
	}
}

func (c *comparison) open() (err error) {
	if c.upper, err = handle.Open(unix.AT_FDCWD, c.Upper, handle.DirFlags, 0); err != nil {
		return fmt.Errorf("open upper directory %q: %w", c.Upper, err)
	}
	c.lower, err = openMerged(c.Lower)
	return err
}

func (c *comparison) close() error {
	if c.upper < 0 {
		return nil
	}
	return errors.Join(unix.Close(c.upper), c.lower.close())
}

func (c *comparison) directory(name string) (err error) {
	upper, err := handle.OpenBelow(c.upper, name)
	if handle.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	lower, err := c.lower.at(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lower.close()) }()
	return c.entries(&pair{name, upper, lower})
}

// pair is a directory of upper and what the layers show in its place.
type pair struct {
	name  string
	upper int
	lower merged
}

func (c *comparison) entries(p *pair) error {
	names, err := list(p.upper)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := c.entry(p, base); err != nil {
			return fmt.Errorf("%q: %w", base, err)
		}
	}
	if !c.Whole && !handle.IsOpaque(p.upper) {
		return nil
	}
	return c.hidden(p, names)
}

func (c *comparison) entry(p *pair, base string) error {
	name := path.Join(p.name, base)
	st, err := lstat(p.upper, base)
	if handle.Gone(err) || c.isCovered(name) {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := p.lower.lookup(base)
	if err != nil {
		return err
	}
	if isWhiteout(p.upper, base, &st) {
		if old == nil {
			return nil
		}
		return c.add(name, Deleted)
	}
	if isDir(&st) && len(name) < unix.PathMax {
		c.todo = append(c.todo, name)
	}
	return c.compare(&version{p.upper, base, st}, old, name)
}

func (c *comparison) compare(file, old *version, name string) error {
	switch {
	case old == nil && c.way[name] && file.isPlain():
		return nil
	case old == nil:
		return c.add(name, Added)
	case c.differ(file, old, name):
		return c.add(name, Modified)
	}
	return nil
}

// hidden reports what an opaque directory hides.
func (c *comparison) hidden(p *pair, upper []string) error {
	lower, err := p.lower.list()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, base := range upper {
		there[base] = true
	}
	for _, base := range lower {
		name := path.Join(p.name, base)
		if there[base] || c.isCovered(name) {
			continue
		}
		if err := c.add(name, Deleted); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) isCovered(name string) bool {
	return slices.ContainsFunc(c.covered, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
}

func (c *comparison) add(name string, kind ChangeKind) error {
	c.found = append(c.found, Change{name, kind})
	if c.bytes += len(name); len(c.found) > maxChanges || c.bytes > maxChangeBytes {
		return ErrTooManyChanges
	}
	return nil
}

// sorted adds the directories in which something was added or deleted and whose times do not tell.
func (c *comparison) sorted() []Change {
	for _, change := range c.found {
		dir := path.Dir(change.Path)
		if change.Kind != Modified && c.loose[dir] {
			delete(c.loose, dir)
			c.found = append(c.found, Change{dir, Modified})
		}
	}
	for i := range c.found {
		c.found[i].Path = c.path(c.found[i].Path)
	}
	slices.SortFunc(c.found, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c.found
}
