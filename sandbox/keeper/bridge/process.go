package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// process is a handle (O_PATH) of a process's directory in some /proc.
type process int

const handleFlags = unix.O_PATH | unix.O_CLOEXEC

// inProcess calls f with the process whose directory a descriptor of CRIU's is. The kernel answers if it is none.
func (c *call) inProcess(dirfd int, f func(*call, process) notify.Answer) notify.Answer {
	dir, ok := c.directory(dirfd)
	if !ok {
		return notify.AsAsked()
	}
	defer closeFD(dir)
	if !c.inContainer(process(dir)) {
		return notify.AsAsked()
	}
	return f(c, process(dir))
}

// inMapFiles calls f with the process whose map_files a descriptor of CRIU's is, if it has a mapping there that takes more
// than its name.
func (c *call) inMapFiles(dirfd int, r addresses, f func(*call, process, addresses) notify.Answer) notify.Answer {
	dir, ok := c.directory(dirfd)
	if !ok {
		return notify.AsAsked()
	}
	defer closeFD(dir)
	if kindOf(readLink(dir, r.String())) == plain {
		return notify.AsAsked()
	}
	parent, err := unix.Openat(dir, "..", handleFlags|unix.O_DIRECTORY, 0)
	if err != nil {
		return notify.AsAsked()
	}
	defer closeFD(parent)
	if !isProcfs(parent) || !c.inContainer(process(parent)) {
		return notify.AsAsked()
	}
	return f(c, process(parent), r)
}

// directory opens what a descriptor of CRIU's refers to, if that is a directory of some /proc.
func (c *call) directory(fd int) (int, bool) {
	if fd < 0 {
		return -1, false
	}
	dir, err := unix.Openat(c.procfs, c.own("fd/"+strconv.Itoa(fd)), handleFlags|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, false
	}
	if !c.alive() || !isProcfs(dir) {
		closeFD(dir)
		return -1, false
	}
	return dir, true
}

// own names a file of CRIU's own directory, relative to the supervisor's /proc.
func (c *call) own(name string) string { return strconv.Itoa(int(c.PID)) + "/" + name }

// inContainer tells whether a process is in the namespaces of CRIU: a /proc that the container sees may have the supervisor in
// it as well.
func (c *call) inContainer(p process) bool {
	for _, ns := range []string{"ns/pid", "ns/user"} {
		theirs := readLink(int(p), ns)
		if theirs == "" || theirs != readLink(c.procfs, c.own(ns)) {
			return false
		}
	}
	return c.alive()
}

func isProcfs(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// readLink gives the text of a link, which is for classification only: it is a name that a program has chosen.
func readLink(dir int, name string) string {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// open opens a file that the kernel makes, such as maps.
func (p process) open(name string) (*os.File, error) {
	fd, err := unix.Openat(int(p), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of a process: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// number is the process's own in the container, for people.
func (p process) number() string {
	b, err := p.read("stat", 64)
	if err != nil && !errors.Is(err, errLarge) {
		return "?"
	}
	number, _, _ := bytes.Cut(b, []byte(" "))
	return string(number)
}

// errLarge says that a file has more than was to be read of it.
var errLarge = errors.New("too large")

// read gives what a file has, at most max bytes.
func (p process) read(name string, maximum int64) ([]byte, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maximum+1))
	if err == nil && int64(len(b)) > maximum {
		return b[:maximum], fmt.Errorf("read %s of a process: %w", name, errLarge)
	}
	return b, err
}

// others calls f for the processes that are in the same /proc and in the container, until it returns false. The handles are
// closed afterwards.
func (c *call) others(p process, f func(process) bool) {
	root, err := unix.Openat(int(p), "..", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	dir := os.NewFile(uintptr(root), "proc")
	defer dir.Close()
	if !isProcfs(root) {
		return
	}
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if _, err := strconv.Atoi(name); err == nil && !c.other(root, name, f) {
			return
		}
	}
}

// other calls f for one of them; false ends.
func (c *call) other(root int, name string, f func(process) bool) bool {
	h, err := unix.Openat(root, name, handleFlags|unix.O_DIRECTORY, 0)
	if err != nil {
		return c.alive()
	}
	defer closeFD(h)
	if !c.inContainer(process(h)) {
		return c.alive()
	}
	return f(process(h))
}
