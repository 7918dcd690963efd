package emulate

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

func chown(c *call) notify.Answer  { return c.chownPath(unix.AT_FDCWD, 0, 1, 0) }
func lchown(c *call) notify.Answer { return c.chownPath(unix.AT_FDCWD, 0, 1, unix.AT_SYMLINK_NOFOLLOW) }

func fchownat(c *call) notify.Answer { return c.chownPath(c.fd(0), 1, 2, c.id(4)) }

func fchown(c *call) notify.Answer {
	fd, err := c.openFD(c.fd(0))
	return c.chownHandle(fd, err, c.ownerArgs(1))
}

// chownPath finds the file; the ids are two arguments from uid on.
func (c *call) chownPath(dirfd, name, uid int, flags uint32) notify.Answer {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return notify.AsAsked()
	}
	fd, err := c.openAt(dirfd, name, flags)
	return c.chownHandle(fd, err, c.ownerArgs(uid))
}

func (c *call) ownerArgs(first int) Owner { return Owner{c.id(first), c.id(first + 1)} }

// openAt opens what a directory, a path argument and AT_ flags mean.
func (c *call) openAt(dirfd, arg int, flags uint32) (int, error) {
	name, e := c.pathArg(arg, flags)
	switch {
	case e != 0:
		return -1, e
	case name == "" && flags&unix.AT_EMPTY_PATH != 0:
		return c.base(dirfd)
	}
	return c.lookup(dirfd, name, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
}

// pathArg reads a path, which may be NULL with AT_EMPTY_PATH (Linux 6.11).
func (c *call) pathArg(arg int, flags uint32) (string, unix.Errno) {
	if flags&unix.AT_EMPTY_PATH != 0 && c.Args[arg] == 0 {
		return "", 0
	}
	return c.string(arg)
}

// chownHandle takes over the handle, or the error of getting it.
func (c *call) chownHandle(fd int, err error, to Owner) notify.Answer {
	if err != nil {
		return failed(err)
	}
	defer closeFD(fd)
	k, err := c.credentials(c.process)
	if err != nil {
		return c.lost(err)
	}
	if !c.alive() {
		return notify.AsAsked()
	}
	if err := c.chownAs(k, fd, to); err != nil {
		return failed(err)
	}
	return notify.Value(0)
}

// chownAs checks, makes the kernel do its part (a read-only mount, set-id bits, the time of change) and stores the
// owner.
func (c *call) chownAs(k credentials, fd int, to Owner) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	label, ok := c.ownerOf(fd)
	if !ok {
		label = Owner{NoopID, NoopID}
	}
	if !k.mayChown(label.over(Owner{st.Uid, st.Gid}), to) {
		return unix.EPERM
	}
	if err := realChown(fd, to, carriesLabel(st.Mode)); err != nil {
		return err
	}
	return c.setOwner(fd, to.over(label.over(unmapped(st))))
}

// realChown gives a file to the one real id. Only files of the host's user can be given; of what cannot carry a label
// anyway (a terminal, a pipe) the real owner matters to nobody.
func realChown(fd int, to Owner, strict bool) error {
	uid, gid := 0, 0
	if to.UID == NoopID {
		uid = -1
	}
	if to.GID == NoopID {
		gid = -1
	}
	err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	if !strict && errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

// carriesLabel tells whether files of a mode may have user attributes: xattr(7).
func carriesLabel(mode uint32) bool {
	t := mode & unix.S_IFMT
	return t == unix.S_IFREG || t == unix.S_IFDIR
}

// unmapped is the real owner as a label says it: ids of other host users stay what they are.
func unmapped(st unix.Stat_t) Owner {
	var o Owner
	if st.Uid != 0 {
		o.UID = NoopID
	}
	if st.Gid != 0 {
		o.GID = NoopID
	}
	return o
}
