package overlay

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// UnsupportedError says what this machine lacks. It is an
// [errors.ErrUnsupported].
type UnsupportedError struct {
	Feature string // what is missing
	Remedy  string // what would mend it
	Err     error

	retry bool // another way to mount may do
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Feature, e.Remedy, e.Err)
}

// Unwrap keeps the errno.
func (e *UnsupportedError) Unwrap() []error { return []error{errors.ErrUnsupported, e.Err} }

// tooOld is an interface that an older one may stand in for.
func tooOld(call, release string, err error) error {
	return &UnsupportedError{Feature: "this kernel has no " + call, Remedy: "use Linux " + release + " or newer", Err: err, retry: true}
}

// openError explains what fsopen(2) or mount(2) says about "overlay" as such.
func openError(err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return &UnsupportedError{Feature: "this kernel has no overlayfs", Remedy: "load it with `modprobe overlay` as root", Err: err}
	case errors.Is(err, unix.ENOSYS):
		return tooOld("fsopen(2)", "5.2", err)
	case errors.Is(err, unix.EPERM):
		return &UnsupportedError{Feature: "overlayfs may not be mounted here", Remedy: "it takes a user namespace, Linux 5.11, " +
			"and no security profile that forbids mounts", Err: err, retry: true}
	}
	return err
}

// upperError explains why the kernel refuses a whole overlay.
func upperError(o Options, err error) error {
	if errors.Is(err, unix.EINVAL) && o.Upper != "" {
		return &UnsupportedError{Feature: fmt.Sprintf("overlayfs cannot keep changes in %q", o.Upper),
			Remedy: "use ext4, XFS, Btrfs, or tmpfs with Linux 6.6, and no overlayfs below it", Err: err}
	}
	return err
}

// logged adds what the kernel wrote into a file system context.
func logged(fsfd int, err error) error {
	var lines []string
	buf := make([]byte, 1024)
	for {
		n, e := unix.Read(fsfd, buf)
		if e != nil || n <= 0 { // ENODATA: that was all
			break
		}
		lines = append(lines, strings.TrimSpace(string(buf[:n])))
	}
	if len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(lines, "; "))
}
