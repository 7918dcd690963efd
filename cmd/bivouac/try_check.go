package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

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
	if err := p.checkLost(s); err != nil {
		return err
	}
	switch {
	case s.change.Kind == sandbox.ChangeAdded && s.old != nil:
		return errors.New("has appeared meanwhile")
	case s.change.Kind == sandbox.ChangeAdded:
		return p.checkNew(at)
	case s.old == nil:
		return errors.New("is gone meanwhile")
	}
	return p.checkOld(at, s)
}

// checkOld is about what is there and is to be changed, replaced or removed.
func (p *planner) checkOld(at *place, s *tryStep) error {
	switch {
	case s.old.isDir() && s.now != nil && s.now.IsDir():
		return s.checkModeChange()
	case p.began.before(s.old.Ctim):
		return errors.New("was changed meanwhile")
	case s.now != nil && int(s.old.Uid) != os.Getuid():
		return errors.New("belongs to another user")
	case s.now != nil && !at.mayHaveGroup(s.old):
		return errors.New("belongs to a group that you are not in")
	}
	return errors.Join(at.checkWritable(s.old), p.checkBelow(at, s.old))
}

// checkLost refuses to remove what the command has not seen, or what bivouac is using.
func (p *planner) checkLost(s *tryStep) error {
	if s.old == nil || s.keepsDirectory() {
		return nil
	}
	for _, dir := range p.own {
		if liesIn(dir, s.change.Path) {
			return fmt.Errorf("holds a directory of bivouac's own: %s", printable(dir))
		}
	}
	for _, files := range []*keeper.HostFiles{p.seen, p.now} {
		if mount := files.MountBelow(s.change.Path); mount != "" {
			return fmt.Errorf("cannot be removed: a file system is mounted on %s", printable(mount))
		}
	}
	return nil
}

// mayHaveGroup tells whether a file of the user's in this directory can be given the group of one that is there.
func (p *place) mayHaveGroup(old *found) bool {
	var dir unix.Stat_t
	if old.kind() != unix.S_IFREG || int(old.Gid) == os.Getegid() || isFurtherGroup(old.Gid) {
		return true
	}
	return unix.Fstat(p.fd(), &dir) == nil && dir.Mode&unix.S_ISGID != 0 && dir.Gid == old.Gid
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
		shown = p.seen.Shows(dir) && p.now.Shows(dir)
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
		if err := p.untouched(base, f); err != nil {
			return err
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
