package main

import (
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

// tried is what a command has done to the view of the machine's files that it had.
type tried struct {
	view    fs.FS // the files as the command has left them; nothing runs there any more
	began   startTime
	seen    *keeper.HostFiles // what was mounted then
	changes []sandbox.Change  // that were chosen
	// selected says that they were chosen by their paths.
	selected bool
	scratch  []sandbox.Change // others, to places for temporary files of which the command had its own
}

// nameOf is a path's name in a view.
func nameOf(p string) string {
	if p == "/" {
		return "."
	}
	return strings.TrimPrefix(p, "/")
}

// lstat describes a path as the command has left it.
func (t *tried) lstat(p string) (fs.FileInfo, error) { return fs.Lstat(t.view, nameOf(p)) }

// chooser is what --path says.
type chooser struct{ patterns []string }

// Errors: usageError.
func newChooser(texts []string) (*chooser, error) {
	c := &chooser{}
	for _, text := range texts {
		if text == "" {
			return nil, usageErrorf("--path: the pattern is empty; give a path such as ./src")
		}
		absolute, err := filepath.Abs(text)
		if err != nil {
			return nil, err
		}
		if _, err := path.Match(absolute, ""); err != nil {
			return nil, usageErrorf("--path %q: the pattern has no end; close its brackets", text)
		}
		c.patterns = append(c.patterns, absolute)
	}
	return c, nil
}

// fits tells whether one of the patterns matches the path, or a directory above it.
func (c *chooser) fits(p string) bool {
	if len(c.patterns) == 0 {
		return true
	}
	for ; ; p = path.Dir(p) {
		matches := func(pattern string) bool { ok, _ := path.Match(pattern, p); return ok || pattern == p }
		if slices.ContainsFunc(c.patterns, matches) {
			return true
		}
		if p == "/" {
			return false
		}
	}
}

// choose takes of all changes those that fit.
func (t *tried) choose(c *chooser, all []sandbox.Change) (err error) {
	if t.changes, err = c.choose(t, all); err != nil {
		return err
	}
	t.setAside(c)
	return t.addSharedMemory()
}

// choose returns the changes that fit, and the added directories that lead to them.
func (c *chooser) choose(t *tried, all []sandbox.Change) ([]sandbox.Change, error) {
	chosen := map[string]bool{}
	for _, change := range all {
		if !c.fits(change.Path) {
			continue
		}
		for p := change.Path; p != "/" && !chosen[p]; p = path.Dir(p) {
			chosen[p] = true
		}
	}
	var list []sandbox.Change
	for _, change := range all {
		if !chosen[change.Path] {
			continue
		}
		if !c.fits(change.Path) && change.Kind == sandbox.ChangeModified {
			leads, err := t.becameDirectory(change.Path)
			if err != nil {
				return nil, err
			}
			if !leads {
				continue
			}
		}
		list = append(list, change)
	}
	if len(list) == 0 && len(c.patterns) > 0 {
		return nil, usageErrorf("--path: the command changed nothing that matches; leave it out to see what it changed")
	}
	return list, nil
}

// becameDirectory tells whether there is a directory where the machine has none.
func (t *tried) becameDirectory(p string) (bool, error) {
	info, err := t.lstat(p)
	if err != nil || !info.IsDir() {
		return false, err
	}
	old, err := lookAt(p)
	return err == nil && old != nil && !old.isDir(), err
}
