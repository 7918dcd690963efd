package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

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
	store string
	steps []tryStep
	dirs  map[string]bool // that the plan makes
	shown map[string]bool // whether the command saw what is in a directory of the machine
}

// plan returns what is to be done, in an order in which it can be.
//
// Errors: CodeInvalid where something was changed meanwhile, the user lacks the right, or the change is none that is ever made.
func (t *tried) plan() ([]tryStep, error) {
	store, err := rootfs.DefaultDir()
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(store); err == nil {
		store = real
	}
	p := &planner{tried: t, store: store, dirs: map[string]bool{}, shown: map[string]bool{}}
	var obstacles []error
	for _, c := range t.changes {
		if err := p.add(c); err != nil {
			obstacles = append(obstacles, fmt.Errorf("%s %w", printable(c.Path), err))
		}
	}
	switch len(obstacles) {
	case 0:
		return p.steps, nil
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
	if liesIn(c.Path, p.store) {
		return errors.New("lies in the store of bivouac")
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

// check compares the machine's files with those that the command saw, and the user's rights with what is to be done.
func (p *planner) check(s *tryStep) error {
	if err := p.checkShown(path.Dir(s.change.Path)); err != nil {
		return err
	}
	at, err := openPlace(s.change.Path)
	if isMissing(err) {
		return errors.New("has no directory any more: that was changed meanwhile")
	}
	if err != nil {
		return err
	}
	defer at.close()
	if s.old, err = at.look(); err != nil {
		return err
	}
	switch {
	case s.change.Kind == sandbox.ChangeAdded && s.old != nil:
		return errors.New("has appeared meanwhile")
	case s.change.Kind == sandbox.ChangeAdded:
		return p.checkNew(at)
	case s.old == nil:
		return errors.New("is gone meanwhile")
	case s.old.isDir() && s.now != nil && s.now.IsDir():
		return s.checkModeChange()
	case p.began.before(s.old.Ctim):
		return errors.New("was changed meanwhile")
	case s.now != nil && int(s.old.Uid) != os.Getuid():
		return errors.New("belongs to another user")
	}
	return errors.Join(at.checkWritable(s.old), p.checkBelow(at, s.old))
}

// checkNew is about a name that is not there. It may have been when the command changed what it stood for.
func (p *planner) checkNew(at *place) error {
	var dir unix.Stat_t
	if err := unix.Fstat(at.fd(), &dir); err != nil {
		return err
	}
	if p.began.before(dir.Ctim) {
		return errors.New("may have been removed meanwhile: something was added to or removed from its directory")
	}
	return at.checkWritable(nil)
}

// checkShown refuses places in which the command saw other files than there are.
func (p *planner) checkShown(dir string) error {
	shown, known := p.shown[dir]
	if !known {
		var err error
		if shown, err = keeper.ShownByHost(dir); err != nil {
			return err
		}
		p.shown[dir] = shown
	}
	if !shown {
		return errors.New("lies on a file system in memory or of the kernel, which the command saw empty")
	}
	return nil
}

func (s *tryStep) checkModeChange() error {
	if samePermissions(s) || int(s.old.Uid) == os.Getuid() {
		return nil
	}
	return errors.New("belongs to another user, who alone may change its mode")
}

// samePermissions is about two directories. What marks them for their group is left as it is.
func samePermissions(s *tryStep) bool {
	const compared = 0o777 | unix.S_ISVTX
	return permissionBits(s.now.Mode())&compared == s.old.Mode&compared
}

// checkWritable tells whether the user may make, replace or remove a name.
func (p *place) checkWritable(old *found) error {
	if err := writable(p.dir); err != nil {
		return err
	}
	dir, err := p.dir.Stat()
	if err != nil {
		return err
	}
	st, own := &unix.Stat_t{}, uint32(os.Getuid())
	if err := unix.Fstat(p.fd(), st); err != nil {
		return err
	}
	if old != nil && dir.Mode()&fs.ModeSticky != 0 && st.Uid != own && old.Uid != own {
		return errors.New("belongs to another user, in a directory where everybody may remove only their own")
	}
	return nil
}

func writable(dir *os.File) error {
	if err := unix.Faccessat(int(dir.Fd()), ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return fmt.Errorf("is in a directory where you may not write: %w", err)
	}
	return nil
}

// checkBelow looks at everything in a directory that is to be removed.
func (p *planner) checkBelow(at *place, old *found) error {
	if !old.isDir() {
		return nil
	}
	dir, err := openIn(at.dir, at.base)
	if err != nil {
		return fmt.Errorf("cannot be removed: %w", err)
	}
	defer dir.Close()
	var seen *os.File
	return eachBelow(dir, func(in *os.File, base string, f *found) error {
		if p.began.before(f.Ctim) {
			return fmt.Errorf("was changed meanwhile: %s in it", printable(base))
		}
		if in == seen {
			return nil
		}
		seen = in
		if err := writable(in); err != nil {
			return fmt.Errorf("cannot be removed: %s in it %w", printable(base), err)
		}
		return nil
	})
}
