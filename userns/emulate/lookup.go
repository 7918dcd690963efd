package emulate

import (
	"errors"
	"path"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's own limit of symbolic links in a path.
const maxLinks = 40

// handleFlags open a file to be looked at, whatever it is.
const handleFlags = unix.O_PATH | unix.O_CLOEXEC

// base opens what relative paths begin with: a descriptor of the task, or its directory.
func (c *call) base(dirfd int) (int, error) {
	if dirfd == unix.AT_FDCWD {
		return c.process.open("cwd")
	}
	return c.openFD(dirfd)
}

// openFD gives a handle of what a descriptor of the task refers to.
//
// Errors: EBADF.
func (c *call) openFD(fd int) (int, error) {
	if fd < 0 {
		return -1, unix.EBADF
	}
	h, err := c.process.open(fdName(fd))
	if errors.Is(err, unix.ENOENT) {
		return -1, unix.EBADF
	}
	return h, err
}

// lookup opens a handle of the file that a path means to the task. The errors are those of the kernel.
func (c *call) lookup(dirfd int, name string, follow bool) (int, error) {
	fd, err := c.resolve(dirfd, name, follow)
	if follow && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP)) {
		if m, ok := c.lookupMagic(dirfd, name); ok {
			return m, nil
		}
	}
	return fd, err
}

// resolve opens a handle inside the task's root, by the quick way if there is one.
func (c *call) resolve(dirfd int, name string, follow bool) (int, error) {
	how := unix.OpenHow{Flags: handleFlags, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := c.resolveQuick(dirfd, name, how)
	if errors.Is(err, unix.EXDEV) {
		return c.resolveInView(dirfd, name, how)
	}
	return fd, err
}

// resolveQuick needs no change of root: absolute paths are scoped to the task's root, relative ones to where they
// begin, which fails with EXDEV if they leave it.
func (c *call) resolveQuick(dirfd int, name string, how unix.OpenHow) (int, error) {
	var base int
	var err error
	if path.IsAbs(name) {
		base, err = c.process.open("root")
		how.Resolve |= unix.RESOLVE_IN_ROOT
	} else {
		base, err = c.base(dirfd)
		how.Resolve |= unix.RESOLVE_BENEATH
	}
	if err != nil {
		return -1, err
	}
	defer closeFD(base)
	return unix.Openat2(base, name, &how)
}

func (c *call) resolveInView(dirfd int, name string, how unix.OpenHow) (fd int, err error) {
	err = c.inView(dirfd, func(base int) error {
		fd, err = unix.Openat2(base, name, &how)
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// readLink gives the target of a path that is a symbolic link, as a path that begins where the link's did.
func (c *call) readLink(dirfd int, name string) (string, bool) {
	fd, err := c.resolve(dirfd, name, false)
	if err != nil {
		return "", false
	}
	defer closeFD(fd)
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", b)
	if err != nil || n == 0 {
		return "", false
	}
	if target := string(b[:n]); path.IsAbs(target) {
		return target, true
	}
	return parent(name) + "/" + string(b[:n]), true
}

// finalName follows the symbolic links at the end of a path, to the name that a file made through it would have.
func (c *call) finalName(dirfd int, name string) string {
	for range maxLinks {
		if magicLink().MatchString(name) {
			break // its text is for people
		}
		target, ok := c.readLink(dirfd, name)
		if !ok {
			break
		}
		name = target
	}
	return name
}

// lookupMagic opens a path that ends at a descriptor below /proc, like /dev/stdout.
func (c *call) lookupMagic(dirfd int, name string) (int, bool) {
	name = c.finalName(dirfd, name)
	m := magicLink().FindStringSubmatch(name)
	if m == nil {
		return -1, false
	}
	if m[1] == "" || m[1] == "self" || m[1] == "thread-self" {
		fd, err := c.process.open("fd/" + m[2])
		return fd, err == nil
	}
	return c.neighbourFile(m[1], m[2])
}

// magicLink knows the magic links that lead to a container's own files. No other is followed: through a /proc that
// shows the supervisor's processes as well it would lead out of the container.
var magicLink = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^/+(?:dev|proc/+(self|thread-self|[0-9]+))/+fd/+([0-9]+)$`)
})

// neighbourFile opens a descriptor of another process by the number that the container's /proc gives it, if that is
// a process of the container.
func (c *call) neighbourFile(pid, fd string) (int, bool) {
	dir, err := c.resolve(unix.AT_FDCWD, "/proc/"+pid, false)
	if err != nil {
		return -1, false
	}
	defer closeFD(dir)
	theirs, err := pidNamespace(dir, "ns/pid")
	if mine, mineErr := c.namespace(); err != nil || mineErr != nil || mine != theirs {
		return -1, false
	}
	h, err := unix.Openat(dir, "fd/"+fd, handleFlags, 0)
	return h, err == nil
}

// parent is the directory of a path as the kernel sees it: no part of it is cleaned away.
func parent(name string) string {
	name = strings.TrimRight(name, "/")
	i := strings.LastIndexByte(name, '/')
	switch {
	case i < 0:
		return "."
	case i == 0:
		return "/"
	}
	return name[:i]
}
