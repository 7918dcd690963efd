package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// removeDirectory takes a directory away in one step, and then removes what was in it. Where somebody has changed something in
// it since the command began it is put back.
func (a *applying) removeDirectory(at *place, old *found) error {
	aside := asideName()
	if err := unix.Renameat2(at.fd(), at.base, at.fd(), aside, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	err := a.discard(at, aside, old)
	if err == nil {
		return nil
	}
	return errors.Join(err, unix.Renameat2(at.fd(), aside, at.fd(), at.base, unix.RENAME_NOREPLACE))
}

// discard removes what has lost its name, which old describes, if nobody has changed it.
func (a *applying) discard(at *place, aside string, old *found) error {
	is, err := lookIn(at.dir, aside)
	if err != nil {
		return err
	}
	if is == nil || is.inode() != old.inode() || !is.isDir() && (is.Mtim != old.Mtim || is.Size != old.Size) {
		return errors.New("it was changed meanwhile")
	}
	if !is.isDir() {
		return a.loseName(at.dir, aside, is, func() error { return unix.Unlinkat(at.fd(), aside, 0) })
	}
	return a.discardDirectory(at.dir, aside)
}

func (a *applying) discardDirectory(dir *os.File, base string) error {
	below, err := openIn(dir, base)
	if err != nil {
		return err
	}
	err = eachBelow(below, func(_ *os.File, base string, f *found) error { return a.intact(base, f) })
	_ = below.Close()
	if err != nil {
		return err
	}
	return a.removeTree(dir, base)
}

// untouched is an error for what was changed since the command began.
func (t *tried) untouched(base string, f *found) error {
	if t.began.before(f.Ctim) {
		return fmt.Errorf("was changed meanwhile: %s in it", printable(base))
	}
	return nil
}

// intact is an error for what somebody else has changed.
func (a *applying) intact(base string, f *found) error {
	if own, ok := a.relinked[f.inode()]; ok && own.changed == f.Ctim {
		return nil
	}
	return a.untouched(base, f)
}

// removeTree looks at each file again right before it is removed, and enters no other file system.
func (a *applying) removeTree(dir *os.File, base string) error {
	below, err := openIn(dir, base)
	if err != nil {
		return err
	}
	defer below.Close()
	names, err := below.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.removeIn(below, name); err != nil {
			return err
		}
	}
	return unix.Unlinkat(int(dir.Fd()), base, unix.AT_REMOVEDIR)
}

func (a *applying) removeIn(dir *os.File, base string) error {
	f, err := lookIn(dir, base)
	if err != nil || f == nil {
		return err
	}
	if err := a.intact(base, f); err != nil {
		return err
	}
	if f.isDir() {
		return a.removeTree(dir, base)
	}
	return a.loseName(dir, base, f, func() error { return unix.Unlinkat(int(dir.Fd()), base, 0) })
}
