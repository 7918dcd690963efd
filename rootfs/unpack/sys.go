package unpack

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}

// stat never follows a symlink.
func stat(at int, name string) (st unix.Stat_t, err error) {
	return st, unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
}

func kind(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

// isWhiteout tells whether st is a character device 0/0.
func isWhiteout(st *unix.Stat_t) bool { return kind(st) == unix.S_IFCHR && st.Rdev == 0 }

// times are the access and modification time of a file.
type times [2]unix.Timespec

// timesOf are the times of an archive entry: few archives hold the access time.
// A time that the machine cannot express is 1970.
func timesOf(access, modification time.Time) times {
	if access.IsZero() {
		access = modification
	}
	return times{timespec(access), timespec(modification)}
}

func timespec(t time.Time) unix.Timespec {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return unix.Timespec{}
	}
	return ts
}

// set gives an open file its times (an empty path needs Linux 5.8).
func (ts *times) set(fd int) error { return ts.setAt(fd, "", unix.AT_EMPTY_PATH) }

func (ts *times) setAt(at int, name string, flags int) error {
	if err := unix.UtimesNanoAt(at, name, ts[:], flags); err != nil {
		return wrap("set times", err)
	}
	return nil
}
