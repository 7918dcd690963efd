package build

import (
	"context"
	"fmt"
	"path"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// bound is the source of a bind. What is written to it is dropped.
func (b *builder) bound(ctx context.Context, p *plannedMount, undo *releases) (string, error) {
	lowers, _, err := b.chainOf(ctx, p.from)
	source := p.key.Source
	if p.from.files != nil {
		var dir string
		if dir, source, err = b.show(ctx, p); err != nil {
			return "", err
		}
		if p.key.ReadOnly {
			return filepath.Join(dir, source), nil
		}
		lowers = []string{dir}
	}
	if err != nil {
		return "", err
	}
	o := Overlay{Lowers: lowers}
	if !p.key.ReadOnly || len(lowers) == 0 {
		if o, err = b.work.overlay(lowers, b.store.IDs().Single); err != nil {
			return "", err
		}
	}
	dir, unmount, err := b.worker.Mount(ctx, o)
	if err != nil {
		return "", fmt.Errorf("mount %s: %w", p.from, err)
	}
	undo.add(unmount)
	return sourceIn(p.from.String(), dir, source)
}

// sourceIn is the path of a file of a root, with no symlinks in it.
func sourceIn(name, dir, source string) (string, error) {
	f, err := openFolder(name, dir)
	if err != nil {
		return "", err
	}
	defer f.Close()
	file, err := f.lookup(source)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return filepath.Join(dir, file.path), nil
}

// show copies what a bind shows of a context to a directory of ours: the user's own files are not to be changed, and what the
// ignore file hides is not to be seen. Source is what of the directory is meant.
func (b *builder) show(ctx context.Context, p *plannedMount) (dir, source string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := p.from.files.name + "\x00" + p.key.Source
	if known, ok := b.shown[id]; ok {
		return known.dir, known.source, nil
	}
	if dir, err = b.work.dir("bind"); err != nil {
		return "", "", err
	}
	into, err := openFolder("bind", dir)
	if err != nil {
		return "", "", err
	}
	defer into.Close()
	t := &target{root: into.root, single: true, owner: &handle.Owner{}}
	sum, err := p.selection().copy(ctx, p.from.files, t, "/", extractor{})
	if err == nil && sum != p.key.Content {
		err = fmt.Errorf("read %s: %w", p.from.files.name, errChanged)
	}
	if err != nil {
		return "", "", err
	}
	source = "/"
	if file, err := p.from.files.lookup(p.key.Source); err == nil {
		if !file.isDir() {
			source = path.Base(p.key.Source)
		}
		file.Close()
	}
	b.shown[id] = shownFiles{dir, source}
	return dir, source, nil
}

// shownFiles are a copy of files of a context.
type shownFiles struct{ dir, source string }
