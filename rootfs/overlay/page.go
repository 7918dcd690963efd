package overlay

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountPage uses mount(2), whose options must fit into one page. All
// directories are opened and named by their descriptors, as seen from
// /proc/self/fd: four bytes for each, and nothing in them to escape.
func mountPage(target string, o Options) error {
	d := descriptors{}
	defer d.close()
	at := d.open(target)
	data := d.options(o)
	if d.err != nil {
		return d.err
	}
	if len(data) >= os.Getpagesize() {
		return tooOld(fmt.Sprintf("way to mount %d layers", len(o.Lower)), "6.5", unix.E2BIG)
	}
	flags := uintptr(0)
	if o.ReadOnly || o.Upper == "" {
		flags = unix.MS_RDONLY
	}
	return mountFrom("/proc/self/fd", at, flags, data, o)
}

// descriptors are directories held open by one mount.
type descriptors struct {
	fds []int
	err error // of the first open that failed
}

// open returns the name in /proc/self/fd.
func (d *descriptors) open(dir string) string {
	if d.err != nil {
		return ""
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		d.err = fmt.Errorf("open %q: %w", dir, err)
		return ""
	}
	d.fds = append(d.fds, fd)
	return strconv.Itoa(fd)
}

func (d *descriptors) options(o Options) string {
	lower := make([]string, len(o.Lower))
	for i, dir := range o.Lower { // the kernel counts from the top
		lower[len(lower)-1-i] = d.open(dir)
	}
	opts := []string{"userxattr", "lowerdir=" + strings.Join(lower, ":")}
	if o.OneDevice {
		opts = append(opts, "xino=on")
	}
	if o.Upper != "" {
		opts = append(opts, "upperdir="+d.open(o.Upper), "workdir="+d.open(o.Work))
	}
	if o.Volatile {
		opts = append(opts, "volatile")
	}
	return strings.Join(opts, ",")
}

func (d *descriptors) close() {
	for _, fd := range d.fds {
		unix.Close(fd)
	}
}

// mountFrom mounts with another working directory, which only a thread of its
// own can have. The thread ends with the goroutine.
func mountFrom(dir, target string, flags uintptr, data string, o Options) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare working directory: %w", err)
			}
			if err := unix.Chdir(dir); err != nil {
				return fmt.Errorf("change directory: %w", err)
			}
			return mountError(o, unix.Mount("overlay", target, "overlay", flags, data))
		}()
	}()
	return <-result
}

// mountError has no more than an errno to go by.
func mountError(o Options, err error) error {
	if err == nil {
		return nil
	}
	e := openError(err)
	if !errors.Is(e, errors.ErrUnsupported) {
		e = upperError(o, err)
	}
	return fmt.Errorf("mount overlay: %w", e)
}
