package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// apply makes what was planned. Where a change fails nevertheless, as on a full disk, those that were made stay and are listed.
func (t *tried) apply(steps []tryStep) error {
	a := &applying{tried: t, dirs: map[string]bool{}, relinked: map[inode]relinked{}, made: map[inode]madeFile{}}
	for i := range steps {
		if err := a.step(&steps[i]); err != nil {
			err = a.stopped(steps, i, err)
			if unfinished := a.finish(steps[:i]); unfinished != nil {
				err = errors.Join(err, fmt.Errorf("modes and times of directories: %w", unfinished))
			}
			return err
		}
	}
	a.tellOtherNames()
	if err := a.finish(steps); err != nil {
		return sandbox.Errorf(sandbox.CodeInternal, "all changes were applied, but for modes and times of directories: %v", err)
	}
	return nil
}

// applying is the state of one apply.
type applying struct {
	*tried
	dirs     map[string]bool // in which names were changed
	relinked map[inode]relinked
	made     map[inode]madeFile // by what they are in the view, those that have several names there
}

// relinked is a file of the machine that had several names, one of which was taken from it.
type relinked struct {
	changed  unix.Timespec // what the file shows for that
	names    uint64        // that it has still
	replaced string        // a path that has another file instead
}

// stopped tells of a failure in the middle, and what was done before.
func (a *applying) stopped(steps []tryStep, i int, err error) error {
	var out bytes.Buffer
	for _, s := range steps[:i] {
		fmt.Fprintf(&out, "applied: %s %s\n", s.change.Kind, printable(s.change.Path))
	}
	_ = show(os.Stderr, out.Bytes())
	failed := sandbox.Errorf(sandbox.CodeInternal, "apply %s: %v; %d of %d changes were applied before, and are listed above",
		printable(steps[i].change.Path), err, i, len(steps))
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		failed.Code = sandbox.CodeNoSpace
	}
	return failed
}

// step makes one change, after another look at what is there.
func (a *applying) step(s *tryStep) error {
	at, err := openPlace(s.change.Path)
	if err != nil {
		return err
	}
	defer at.close()
	if err := a.expect(at, s); err != nil {
		return err
	}
	a.dirs[path.Dir(s.change.Path)] = true
	switch {
	case s.now == nil && s.old.isDir():
		return a.removeDirectory(at, s.old)
	case s.now == nil:
		return a.loseName(at.dir, at.base, s.old, func() error { return unix.Unlinkat(at.fd(), at.base, 0) })
	case s.keepsDirectory():
		return nil // its mode comes last
	case s.now.IsDir() && s.old == nil:
		return unix.Mkdirat(at.fd(), at.base, 0o700)
	}
	return a.replace(at, s)
}

// expect is an error unless there is what the plan found, changed by nobody but us.
func (a *applying) expect(at *place, s *tryStep) error {
	is, err := at.look()
	if err != nil {
		return err
	}
	if (is == nil) != (s.old == nil) || is != nil && !a.unchanged(is, s.old) && !(is.isDir() && s.keepsDirectory()) {
		return errors.New("it was changed meanwhile")
	}
	return nil
}

// unchanged tells whether a file is still the same. That a file with several names has lost one was our doing.
func (a *applying) unchanged(is, was *found) bool {
	own, ok := a.relinked[is.inode()]
	return is.inode() == was.inode() && (is.Ctim == was.Ctim || ok && is.Ctim == own.changed)
}

func (s *tryStep) keepsDirectory() bool {
	return s.now != nil && s.now.IsDir() && s.old != nil && s.old.isDir()
}

// loseName does what takes a name from a file, and notes how the file is known by its other names.
func (a *applying) loseName(dir *os.File, base string, was *found, take func() error) error {
	if was.isDir() || was.Nlink < 2 {
		return take()
	}
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := take(); err != nil {
		return err
	}
	is := &found{}
	if err := unix.Fstat(fd, &is.Stat_t); err != nil {
		return err
	}
	if is.inode() == was.inode() && is.Mtim == was.Mtim && is.Size == was.Size {
		own := a.relinked[is.inode()]
		own.changed, own.names = is.Ctim, uint64(is.Nlink) //nolint:unconvert // it has fewer bits on some machines
		a.relinked[is.inode()] = own
	}
	return nil
}

// tellOtherNames says which files have got a new file under one of their names, and have others.
func (a *applying) tellOtherNames() {
	var paths []string
	for _, r := range a.relinked {
		if r.names > 0 && r.replaced != "" {
			paths = append(paths, r.replaced)
		}
	}
	slices.Sort(paths)
	var out bytes.Buffer
	for _, p := range paths {
		fmt.Fprintf(&out, "bivouac: %s was a file with other names (hard links), which keep what it was\n", printable(p))
	}
	_ = show(os.Stderr, out.Bytes())
}

// replace makes something aside and gives it the name, in one step that leaves the old or the new.
func (a *applying) replace(at *place, s *tryStep) error {
	aside := asideName()
	err := a.makeAside(at, aside, s)
	if err == nil {
		err = a.expect(at, s) // copying may have taken long
	}
	if err == nil {
		err = a.moveOver(at, aside, s)
	}
	if err != nil {
		return errors.Join(err, removeMade(at, aside, s))
	}
	if s.old == nil || !s.old.isDir() && !s.now.IsDir() {
		return nil
	}
	if err := a.discard(at, aside, s.old); err != nil { // what the name was exchanged with
		back := unix.Renameat2(at.fd(), aside, at.fd(), at.base, unix.RENAME_EXCHANGE)
		return errors.Join(err, back, removeMade(at, aside, s))
	}
	return nil
}

// asideName is for something that is to get another name soon, or to vanish.
func asideName() string { return ".bivouac-try-" + strings.ToLower(rand.Text()) }

func (a *applying) moveOver(at *place, aside string, s *tryStep) error {
	move := func(flags uint) error { return unix.Renameat2(at.fd(), aside, at.fd(), at.base, flags) }
	switch {
	case s.old == nil:
		return move(unix.RENAME_NOREPLACE)
	case s.old.isDir() || s.now.IsDir():
		return move(unix.RENAME_EXCHANGE)
	}
	err := a.loseName(at.dir, at.base, s.old, func() error { return move(0) })
	if own, ok := a.relinked[s.old.inode()]; ok && err == nil {
		own.replaced = s.change.Path
		a.relinked[s.old.inode()] = own
	}
	return err
}

// removeMade removes what makeAside has made, which has nothing in it.
func removeMade(at *place, aside string, s *tryStep) error {
	flags := 0
	if s.now.IsDir() {
		flags = unix.AT_REMOVEDIR
	}
	err := unix.Unlinkat(at.fd(), aside, flags)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (a *applying) makeAside(at *place, aside string, s *tryStep) error {
	mode := s.now.Mode()
	switch {
	case mode.IsDir():
		return unix.Mkdirat(at.fd(), aside, 0o700)
	case mode&fs.ModeSymlink != 0:
		if err := unix.Symlinkat(s.link, at.fd(), aside); err != nil {
			return err
		}
		return unix.UtimesNanoAt(at.fd(), aside, timesOf(s.now.ModTime()), unix.AT_SYMLINK_NOFOLLOW)
	case mode&fs.ModeNamedPipe != 0:
		return makePipe(at, aside, s)
	}
	return a.writeAside(at, aside, s)
}

func makePipe(at *place, aside string, s *tryStep) error {
	if err := unix.Mkfifoat(at.fd(), aside, 0o600); err != nil {
		return err
	}
	if err := unix.Fchmodat(at.fd(), aside, allowedMode(s.now), 0); err != nil {
		return err
	}
	return unix.UtimesNanoAt(at.fd(), aside, timesOf(s.now.ModTime()), unix.AT_SYMLINK_NOFOLLOW)
}

// allowedMode leaves out what would give others the user's rights. On directories set-group-id gives none.
func allowedMode(info fs.FileInfo) uint32 {
	mode := permissionBits(info.Mode()) &^ unix.S_ISUID
	if !info.IsDir() {
		mode &^= unix.S_ISGID
	}
	return mode
}

// finish gives directories their modes and times, the deepest first, and has all names on the disk.
func (a *applying) finish(steps []tryStep) (err error) {
	for _, s := range slices.Backward(steps) {
		if s.now != nil && s.now.IsDir() {
			err = errors.Join(err, finishDirectory(&s))
		}
	}
	for dir := range a.dirs {
		err = errors.Join(err, syncDirectory(dir))
	}
	return err
}

func finishDirectory(s *tryStep) error {
	dir, err := openMachine(s.change.Path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	is := &found{}
	if err := unix.Fstat(int(dir.Fd()), &is.Stat_t); err != nil {
		return err
	}
	mode := allowedMode(s.now) | is.Mode&(unix.S_ISUID|unix.S_ISGID) // the directory above it may have marked it for its group
	if err := unix.Fchmod(int(dir.Fd()), mode); err != nil || s.keepsDirectory() {
		return err
	}
	return unix.UtimesNanoAt(int(dir.Fd()), "", timesOf(s.now.ModTime()), unix.AT_EMPTY_PATH)
}

func syncDirectory(p string) error {
	dir, err := openMachine(p, unix.O_RDONLY|unix.O_DIRECTORY)
	if isMissing(err) {
		return nil // it was removed by a later change
	}
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
