package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// squash replaces the layers that the build has added by one with the same effect.
func (b *builder) squash(ctx context.Context, st *state, in *step) error {
	kept := len(st.lowers) - len(st.layers)
	if len(st.layers) < 2 {
		return nil
	}
	key := b.key(st)
	key.Squash = kept
	m, err := b.once(ctx, in, key.String(), b.spec.NoCache, func() (rootfs.Layer, error) {
		below := *st
		below.lowers = slices.Clip(st.lowers[:kept])
		return b.change(ctx, &below, func(t *target) error { return b.mergeInto(ctx, t, st.lowers, kept) })
	})
	if err != nil {
		return err
	}
	added := len(st.layers)
	st.layers, st.lowers, st.chain = nil, st.lowers[:kept], st.chain[:len(st.chain)-added]
	for i := len(st.image.History) - 1; added > 0 && i >= 0; i-- {
		if !st.image.History[i].EmptyLayer {
			st.image.History[i].EmptyLayer = true
			added--
		}
	}
	st.add(m, "squashed")
	return nil
}

// mergeInto makes a root look as all layers together do, where those from kept on say anything.
func (b *builder) mergeInto(ctx context.Context, t *target, lowers []string, kept int) error {
	touched := map[string]bool{} // opaque ones are true
	for _, layer := range lowers[kept:] {
		if err := listLayer(layer, touched); err != nil {
			return err
		}
	}
	dir, unmount, err := b.worker.Mount(ctx, Overlay{Lowers: lowers})
	if err != nil {
		return err
	}
	m := &merge{target: t, links: firstNames{}}
	if m.whole, err = openFolder("the image", dir); err == nil {
		m.whole.layers, m.whole.single = true, t.single
		err = m.all(ctx, touched)
		m.whole.Close()
	}
	return errors.Join(err, unmount())
}

// listLayer notes all paths that a layer says something of, and which of its directories hide those below.
func listLayer(layer string, touched map[string]bool) error {
	f, err := openFolder("layer", layer)
	if err != nil {
		return err
	}
	defer f.Close()
	return listDir(f.root, ".", touched, 0)
}

func listDir(dir *os.File, at string, touched map[string]bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("read %s: more than %d directories in each other", at, maxDepth)
	}
	names, err := sortedNames(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := lstat(int(dir.Fd()), name)
		if err != nil {
			return err
		}
		below := path.Join(at, name)
		touched[below] = touched[below] || false
		if kindOf(&st) != unix.S_IFDIR {
			continue
		}
		opened, err := openDir(dir, name)
		if err != nil {
			return err
		}
		touched[below] = touched[below] || handle.IsOpaque(int(opened.Fd()))
		if err := errors.Join(listDir(opened, below, touched, depth+1), opened.Close()); err != nil {
			return err
		}
	}
	return nil
}

// merge copies single files from one root to another.
type merge struct {
	target *target
	whole  *folder
	links  firstNames
}

func (m *merge) all(ctx context.Context, touched map[string]bool) error {
	names := slices.SortedFunc(maps.Keys(touched), func(x, y string) int { // directories before what is in them
		return slices.Compare(strings.Split(x, "/"), strings.Split(y, "/"))
	})
	root, err := os.OpenRoot(m.target.root.Name())
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.one(ctx, root, name, touched[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Backward(names) { // what was made in them has changed their times
		if err := m.dirTimes(name); err != nil {
			return err
		}
	}
	return nil
}

// one makes one path of the target be as it is in the whole.
func (m *merge) one(ctx context.Context, root *os.Root, name string, opaque bool) error {
	from, f, err := m.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ignoreMissing(root.RemoveAll(name))
	}
	if err != nil {
		return err
	}
	defer from.Close()
	if info, err := root.Lstat(name); err == nil && info.IsDir() != (f.kind() == unix.S_IFDIR) {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	parent, err := m.target.makeAll(path.Dir(name))
	if err != nil {
		return err
	}
	w := newWriter(ctx, m.target, m.whole, place{dir: parent})
	defer w.close()
	w.links = firstNames{}
	switch f.kind() {
	case unix.S_IFDIR:
		if err := w.directory(f); err != nil || !opaque {
			return err
		}
		return m.drop(root, name, from, f)
	case unix.S_IFREG:
		if first := m.links.of(f); first != "" {
			return ignoreMissing(errors.Join(removeOne(root, name), root.Link(first, name)))
		}
		return w.regular(f)
	case unix.S_IFLNK:
		return w.symlink(f)
	}
	return nil // FIFOs and the like are in no image
}

func removeOne(root *os.Root, name string) error { return ignoreMissing(root.Remove(name)) }

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// find is a file of the whole, with the open directory that it is in.
func (m *merge) find(name string) (dir *os.File, f *file, err error) {
	parent, _, err := openParent(m.whole, &found{path: name})
	if err != nil {
		return nil, nil, err
	}
	f = &file{dir: int(parent.Fd()), name: path.Base(name), path: name}
	if f.stat, err = lstat(f.dir, f.name); err != nil {
		return nil, nil, errors.Join(err, parent.Close())
	}
	return parent, f, nil
}

// drop removes from a directory what the whole does not have there.
func (m *merge) drop(root *os.Root, name string, _ *os.File, f *file) error {
	opened, err := f.open()
	if err != nil {
		return err
	}
	defer opened.Close()
	wanted, err := sortedNames(opened)
	if err != nil {
		return err
	}
	have, err := fs.ReadDir(root.FS(), name)
	if err != nil {
		return err
	}
	for _, entry := range have {
		if _, ok := slices.BinarySearch(wanted, entry.Name()); !ok {
			if err := root.RemoveAll(path.Join(name, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *merge) dirTimes(name string) error {
	from, f, err := m.find(name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer from.Close()
	if f.kind() != unix.S_IFDIR {
		return nil
	}
	dir, err := m.target.makeAll(name)
	if err != nil {
		return err
	}
	return errors.Join(setTimes(dir, f), dir.Close())
}
