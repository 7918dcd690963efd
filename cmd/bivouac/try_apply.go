package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// apply makes what was planned. Where a change fails nevertheless, as on a full disk, those that were made stay and are listed.
func (t *tried) apply(steps []tryStep) error {
	a := &applying{tried: t, dirs: map[string]bool{}}
	for i := range steps {
		if err := a.step(&steps[i]); err != nil {
			return a.stopped(steps, i, err)
		}
	}
	if err := a.finish(steps); err != nil {
		return sandbox.Errorf(sandbox.CodeInternal, "all changes were applied, but for modes and times of directories: %v", err)
	}
	return nil
}

// applying is the state of one apply.
type applying struct {
	*tried
	dirs map[string]bool // in which names were changed
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
	is, err := at.look()
	if err != nil {
		return err
	}
	if (is == nil) != (s.old == nil) || is != nil && !is.same(s.old) && !(is.isDir() && s.keepsDirectory()) {
		return errors.New("it was changed meanwhile")
	}
	a.dirs[path.Dir(s.change.Path)] = true
	switch {
	case s.now == nil:
		return at.remove(at.base, is)
	case s.keepsDirectory():
		return nil // its mode comes last
	case s.now.IsDir() && is == nil:
		return unix.Mkdirat(at.fd(), at.base, 0o700)
	}
	return a.replace(at, s)
}

func (s *tryStep) keepsDirectory() bool {
	return s.now != nil && s.now.IsDir() && s.old != nil && s.old.isDir()
}

// replace makes something aside and gives it the name, in one step that leaves the old or the new.
func (a *applying) replace(at *place, s *tryStep) error {
	aside := ".bivouac-try-" + strings.ToLower(rand.Text())
	if err := a.makeAside(at, aside, s); err != nil {
		return errors.Join(err, ignoreGone(unix.Unlinkat(at.fd(), aside, 0)))
	}
	err := moveOver(at, aside, s)
	if err != nil {
		made, _ := lookIn(at.dir, aside)
		return errors.Join(err, at.remove(aside, made))
	}
	if s.old == nil || !s.old.isDir() && !s.now.IsDir() {
		return nil
	}
	left, err := lookIn(at.dir, aside) // what the name was exchanged with
	return errors.Join(err, at.remove(aside, left))
}

func moveOver(at *place, aside string, s *tryStep) error {
	flags := uint(0)
	switch {
	case s.old == nil:
		flags = unix.RENAME_NOREPLACE
	case s.old.isDir() || s.now.IsDir():
		flags = unix.RENAME_EXCHANGE
	}
	return unix.Renameat2(at.fd(), aside, at.fd(), at.base, flags)
}

func ignoreGone(err error) error {
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
		return unix.Mkfifoat(at.fd(), aside, allowedMode(s.now))
	}
	return a.writeAside(at, aside, s)
}

// allowedMode leaves out what would give others the user's rights.
func allowedMode(info fs.FileInfo) uint32 {
	return permissionBits(info.Mode()) &^ (unix.S_ISUID | unix.S_ISGID)
}

// writeAside copies a file, and has it on the disk when it returns.
func (a *applying) writeAside(at *place, aside string, s *tryStep) (err error) {
	from, err := a.view.Open(nameOf(s.change.Path))
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was only read
	fd, err := unix.Openat(at.fd(), aside, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), aside)
	defer func() { err = errors.Join(err, to.Close()) }()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, allowedMode(s.now)); err != nil {
		return err
	}
	if err := copyAttributes(to, from); err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(fd, "", timesOf(s.now.ModTime()), unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	return to.Sync()
}

// copyAttributes gives a file the attributes of a user's, and the access control list. Where its file system has none it goes
// without.
func copyAttributes(to *os.File, from fs.File) error {
	conn, ok := from.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = copyAttributesOf(int(to.Fd()), int(fd)) })
	return errors.Join(err, failed)
}

func copyAttributesOf(to, from int) error {
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(from, names)
	if err != nil {
		return nil // it has none
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if !strings.HasPrefix(name, "user.") && name != "system.posix_acl_access" || slices.Contains([]string{"user.rootlesscontainers"}, name) {
			continue
		}
		size, err := unix.Fgetxattr(from, name, value)
		if err == nil {
			err = unix.Fsetxattr(to, name, value[:size], 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("copy attribute %q: %w", name, err)
		}
	}
	return nil
}

// remove removes a name with all that is below it.
func (p *place) remove(base string, f *found) error {
	if f == nil {
		return nil
	}
	if !f.isDir() {
		return unix.Unlinkat(p.fd(), base, 0)
	}
	return removeTree(p.dir, base)
}

func removeTree(dir *os.File, base string) error {
	below, err := openIn(dir, base)
	if err != nil {
		return err
	}
	defer below.Close()
	names, err := below.Readdirnames(-1)
	for _, name := range names {
		if err != nil {
			return err
		}
		err = unix.Unlinkat(int(below.Fd()), name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = removeTree(below, name)
		}
	}
	if err != nil {
		return err
	}
	return unix.Unlinkat(int(dir.Fd()), base, unix.AT_REMOVEDIR)
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
	mode := allowedMode(s.now)
	if s.keepsDirectory() {
		mode |= s.old.Mode & (unix.S_ISUID | unix.S_ISGID)
	}
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
