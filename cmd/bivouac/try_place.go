package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// startTime is when a try began.
type startTime struct{ unix.Timespec }

// startOfTry takes the time.
func startOfTry() (s startTime, err error) { return s, s.read(unix.CLOCK_REALTIME) }

func (s *startTime) read(clock int32) error {
	if err := unix.ClockGettime(clock, &s.Timespec); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	return nil
}

// pass waits until changes of files are stamped with later times: some file systems stamp them with the time of the clock's
// last tick, which comes up to 10 ms late.
func (s *startTime) pass() error {
	for {
		var ticked startTime
		if err := ticked.read(unix.CLOCK_REALTIME_COARSE); err != nil || s.before(ticked.Timespec) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// before tells whether something was changed after the start.
func (s *startTime) before(t unix.Timespec) bool {
	return t.Sec > s.Sec || t.Sec == s.Sec && t.Nsec > s.Nsec
}

// found is a file of the machine, which is not open.
type found struct{ unix.Stat_t }

func (f *found) kind() uint32 { return f.Mode & unix.S_IFMT }
func (f *found) isDir() bool  { return f.kind() == unix.S_IFDIR }

// inode is what tells files apart that exist at one time.
type inode struct{ dev, number uint64 }

func (f *found) inode() inode {
	return inode{uint64(f.Dev), f.Ino} //nolint:unconvert // it has fewer bits on some machines
}

// place is a name in an open directory of the machine.
type place struct {
	dir  *os.File
	base string
	path string
}

// openPlace opens the directory that a path lies in, through no symlink: those that the command saw are none.
//
// Errors: fs.ErrNotExist if there is none.
func openPlace(p string) (*place, error) {
	dir, err := openMachine(path.Dir(p), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &place{dir, path.Base(p), p}, nil
}

// openMachine opens a file of the machine by a path without symlinks. Where openat2(2) is forbidden it goes step by step.
func openMachine(p string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, p, &how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openStepwise(p, int(how.Flags))
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

func openStepwise(p string, flags int) (*os.File, error) {
	at, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	rest := nameOf(p)
	for err == nil {
		first, after, more := cutPath(rest)
		step := flags
		if more {
			step = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		var next int
		next, err = unix.Openat(at, first, step, 0)
		_ = unix.Close(at)
		if err == nil && !more {
			return os.NewFile(uintptr(next), p), nil
		}
		at, rest = next, after
	}
	return nil, &fs.PathError{Op: "open", Path: p, Err: err}
}

func cutPath(p string) (first, rest string, more bool) {
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i], p[i+1:], true
		}
	}
	return p, "", false
}

func (p *place) close() { _ = p.dir.Close() }

func (p *place) fd() int { return int(p.dir.Fd()) }

// look describes what is there, nil for nothing.
func (p *place) look() (*found, error) { return lookIn(p.dir, p.base) }

func lookIn(dir *os.File, base string) (*found, error) {
	f := &found{}
	err := unix.Fstatat(int(dir.Fd()), base, &f.Stat_t, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", printable(path.Join(dir.Name(), base)), err)
	}
	return f, nil
}

// lookAt describes a file of the machine, nil for one that is not there.
func lookAt(p string) (*found, error) {
	at, err := openPlace(p)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer at.close()
	return at.look()
}

// isMissing tells whether a path leads nowhere, or through what is no directory.
func isMissing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// readLinkIn reads a symlink.
func readLinkIn(dir *os.File, base string) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), base, b)
	return string(b[:max(n, 0)]), err
}

// timesOf are what to set on a file that was last modified then.
func timesOf(t time.Time) []unix.Timespec {
	modified, err := unix.TimeToTimespec(t)
	if err != nil { // beyond what the kernel knows
		modified = unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return []unix.Timespec{{Nsec: unix.UTIME_OMIT}, modified}
}
