package emulate

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

func fdName(fd int) string { return "fd/" + strconv.Itoa(fd) }

// inView calls f with the worker's thread in the task's root and directory, so that the kernel understands every path
// as it would for the task; base is the descriptor that relative paths begin with.
func (c *call) inView(dirfd int, f func(base int) error) error {
	base, err := c.base(dirfd)
	if err != nil {
		return err
	}
	defer closeFD(base)
	root, err := c.process.open("root")
	if err != nil {
		return err
	}
	defer closeFD(root)
	if err := c.enter(root, base); err != nil {
		return err
	}
	defer c.leave()
	return f(base)
}

// enter makes root the root of this thread, and base its directory if it is one.
func (s *server) enter(root, base int) error {
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return errors.Join(fmt.Errorf("change root: %w", err), unix.Fchdir(s.procfs))
	}
	_ = unix.Fchdir(base) // fails for the descriptor of a file, where only an absolute path makes sense
	return nil
}

// leave returns to the supervisor's own root and to /proc. It is not safe to go on when that fails.
func (s *server) leave() {
	for _, err := range []error{unix.Fchdir(s.root), unix.Chroot("."), unix.Fchdir(s.procfs)} {
		if err != nil {
			panic(fmt.Sprintf("bug: cannot return to the supervisor's root: %v", err))
		}
	}
}

// withUmask calls f with the task's umask, which does not count in a directory with default permissions, as only the
// kernel knows.
func (c *call) withUmask(f func() error) error {
	mask, err := c.statusNumber("Umask", 8)
	if err != nil {
		return err
	}
	defer unix.Umask(unix.Umask(int(mask)))
	return f()
}
