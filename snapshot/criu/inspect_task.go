package criu

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// task is an open /proc/PID, which stays that of the same process.
type task struct {
	dir *os.File
	fd  int

	pid, parent int    // in the /proc
	numbers     string // NSpid: in each pid namespace from that of the /proc to the innermost
	command     string
	foreign     bool // in another mount namespace than the root process, whose mounts then do not matter
	files       []openFile
}

func openTask(procfs string, pid int) (*task, error) {
	dir, err := os.Open(procfs + "/" + strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	t := &task{dir: dir, fd: int(dir.Fd()), pid: pid}
	status, err := t.read("status")
	if err != nil {
		t.Close()
		return nil, err
	}
	t.command, t.numbers = statusField(status, "Name"), statusField(status, "NSpid")
	t.parent, _ = strconv.Atoi(statusField(status, "PPid")) // the kernel's
	return t, nil
}

// Close closes the directory.
func (t *task) Close() { t.dir.Close() }

// at is the number with an index of a line of numbers, 0 if there is none.
func at(numbers string, index int) int {
	fields := strings.Fields(numbers)
	if index < 0 || index >= len(fields) {
		return 0
	}
	return atoi(fields[index])
}

// read reads a file of the process's directory.
func (t *task) read(name string) ([]byte, error) {
	fd, err := unix.Openat(t.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var out bytes.Buffer
	out.Grow(4096)
	_, err = io.Copy(&out, f)
	return out.Bytes(), err
}

// link reads a link of the process's directory, empty if it is gone.
func (t *task) link(name string) string {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(t.fd, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// names lists a directory of the process's directory.
func (t *task) names(dir string) []string {
	fd, err := unix.Openat(t.fd, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	names, _ := f.Readdirnames(-1) // what was read before the process ended
	return names
}

// namespaces are the process's, but for its cgroup namespace, which has no meaning without cgroups of one's own.
func (t *task) namespaces() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		if link := t.link("ns/" + name); link != "" {
			all[name] = link
		}
	}
	return all
}

// mountOf is the number of the mount by which the file was opened to which a link leads. The file is not opened.
func (t *task) mountOf(link string) (mount uint64, known bool) {
	var st unix.Statx_t
	err := unix.Statx(t.fd, link, unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st)
	return st.Mnt_id, err == nil && st.Mask&unix.STATX_MNT_ID != 0
}

// parseMounts reads the types of file systems from /proc/PID/mountinfo, by the number of the mount.
func parseMounts(mountinfo []byte) map[uint64]string {
	all := map[uint64]string{}
	for line := range strings.Lines(string(mountinfo)) {
		before, after, _ := strings.Cut(line, " - ")
		number, _, _ := strings.Cut(before, " ")
		kind, _, _ := strings.Cut(after, " ")
		if id, err := strconv.ParseUint(number, 10, 64); err == nil {
			all[id] = kind
		}
	}
	return all
}
