package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

// tryStep is one change that is to be made to the machine's files.
type tryStep struct {
	change sandbox.Change
	now    fs.FileInfo // what is to be there, nil for nothing
	link   string      // of a symlink
	old    *found      // what is there, nil for nothing
}

// makesDirectory tells whether there is a directory only after the step.
func (s *tryStep) makesDirectory() bool {
	return s.now != nil && s.now.IsDir() && (s.old == nil || !s.old.isDir())
}

// planner finds out whether all changes can be made, before any of them is.
type planner struct {
	*tried
	own   []string          // directories of bivouac
	now   *keeper.HostFiles // what is mounted at present
	steps []tryStep
	dirs  map[string]bool // that the plan makes
	shown map[string]bool // whether the command saw what is in a directory of the machine
}

// plan returns what is to be done, in an order in which it can be.
//
// Errors: CodeInvalid where something was changed meanwhile, the user lacks the right, or the change is none that is ever made.
func (t *tried) plan() ([]tryStep, error) {
	own, err := ownDirectories()
	if err != nil {
		return nil, err
	}
	now, err := keeper.ListHostFiles()
	if err != nil {
		return nil, err
	}
	p := &planner{tried: t, own: own, now: now, dirs: map[string]bool{}, shown: map[string]bool{}}
	return p.plan()
}

// ownDirectories are the store and the directory of sockets, without symlinks if they exist.
func ownDirectories() ([]string, error) {
	store, err := rootfs.DefaultDir()
	if err != nil {
		return nil, err
	}
	dirs := []string{store}
	if sockets, err := sandbox.RuntimeDir(); err == nil {
		dirs = append(dirs, sockets)
	}
	for i, dir := range dirs {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dirs[i] = real
		}
	}
	return dirs, nil
}

func (p *planner) plan() ([]tryStep, error) {
	var obstacles []error
	for _, c := range p.changes {
		if err := p.add(c); err != nil {
			obstacles = append(obstacles, fmt.Errorf("%s %w", printable(c.Path), err))
		}
	}
	switch len(obstacles) {
	case 0:
		return p.steps, p.checkScratch(p.steps)
	case 1:
		return nil, refusal("%v", obstacles[0])
	}
	return nil, refusal("%v (and %d more)", obstacles[0], len(obstacles)-1)
}

func refusal(format string, args ...any) error {
	return sandbox.Errorf(sandbox.CodeInvalid, "nothing was applied: "+format, args...).WithRemedy("leave such paths out by --path, or try again")
}

func (p *planner) add(c sandbox.Change) error {
	if !utf8.ValidString(c.Path) {
		return errors.New("is no name in UTF-8")
	}
	if slices.ContainsFunc(p.own, func(dir string) bool { return liesIn(c.Path, dir) }) {
		return errors.New("lies in a directory of bivouac's own")
	}
	s := tryStep{change: c}
	if c.Kind != sandbox.ChangeDeleted {
		if err := p.describe(&s); err != nil {
			return err
		}
	}
	if !p.dirs[path.Dir(c.Path)] {
		if err := p.check(&s); err != nil {
			return err
		}
	}
	if s.makesDirectory() {
		p.dirs[c.Path] = true
	}
	if s.now != nil && s.now.IsDir() && s.old != nil && s.old.isDir() && samePermissions(&s) {
		return nil // other files in it have changed
	}
	p.steps = append(p.steps, s)
	return nil
}

func liesIn(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// describe finds out what the command has left.
func (p *planner) describe(s *tryStep) (err error) {
	if s.now, err = p.lstat(s.change.Path); err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	mode := s.now.Mode()
	switch {
	case mode.IsRegular(), mode.IsDir(), mode&fs.ModeNamedPipe != 0:
		return nil
	case mode&fs.ModeSymlink != 0:
		s.link, err = fs.ReadLink(p.view, nameOf(s.change.Path))
		return err
	case mode&fs.ModeSocket != 0:
		return errors.New("is a socket, which nobody listens on any more")
	}
	return errors.New("is a device, which is never made")
}
