package criu

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openFile is a descriptor of a process.
type openFile struct {
	fd   string
	link string // what /proc/PID/fd says
}

// listFiles reads the links of all descriptors, for checkFiles, and notes the masters of terminals.
func (in *inspection) listFiles(t *task) {
	for _, fd := range t.names("fd") {
		link := t.link("fd/" + fd)
		if link == "" {
			continue // closed
		}
		t.files = append(t.files, openFile{fd, link})
		if strings.HasSuffix(link, "/ptmx") {
			info, _ := t.read("fdinfo/" + fd) // without it there is no index
			in.masters[statusField(info, "tty-index")] = true
		}
	}
}

func (in *inspection) checkFiles(t *task) {
	for _, f := range t.files {
		switch {
		case f.link == "anon_inode:[io_uring]":
			in.add(t, ResourceIOURing, "descriptor "+f.fd, ioURingRemedy)
		case f.link == "anon_inode:[userfaultfd]":
			in.add(t, ResourceUserfaultfd, "descriptor "+f.fd, "")
		case strings.HasPrefix(f.link, "/") && !strings.HasPrefix(f.link, "/memfd:"):
			in.checkPath(t, f)
		}
	}
}

const ioURingRemedy = "have the program do without io_uring, by an option of its own: MariaDB with --innodb-use-native-aio=0, " +
	"Node with UV_USE_IO_URING=0"

// checkPath looks at a file that has a path: whether that is one in the container.
func (in *inspection) checkPath(t *task, f openFile) {
	detail := fmt.Sprintf("descriptor %s, %s", f.fd, f.link)
	if t.foreign {
		return
	}
	mount, known := t.mountOf("fd/" + f.fd)
	kind, inside := in.mounts[mount]
	switch {
	case kind == "mqueue", !inside && t.isMessageQueue("fd/"+f.fd):
		in.add(t, ResourceMessageQueue, detail, "")
	case in.isOutsideTerminal(f.link):
		in.add(t, ResourceOutsideTerminal, detail, "start the container without a terminal")
	case known && !inside:
		in.add(t, ResourceOutsideFile, detail, "give the program pipes as its streams instead of files of the host")
	}
}

// isOutsideTerminal tells a terminal's slave whose master no process has open. One that is gone, with all that had it open
// as a master, can be dumped.
func (in *inspection) isOutsideTerminal(link string) bool {
	index, ok := strings.CutPrefix(link, "/dev/pts/")
	if _, err := strconv.Atoi(index); !ok || err != nil {
		return false
	}
	return !in.masters[index]
}

// checkMappings looks for mapped files without a name.
func (in *inspection) checkMappings(t *task) {
	maps, err := t.read("maps")
	if err != nil || !bytes.Contains(maps, []byte(deleted)) && !bytes.Contains(maps, []byte("io_uring")) {
		return
	}
	for line := range bytes.Lines(maps) {
		path := mappedPath(line)
		switch {
		case path == "anon_inode:[io_uring]":
			in.add(t, ResourceIOURing, "mapped", ioURingRemedy)
		case isLost(path) && !slices.ContainsFunc(t.files, func(f openFile) bool { return f.link == path }):
			in.add(t, ResourceDeletedMapping, path, "start the program again after its files were replaced, "+
				"or have it keep open what it maps")
		}
	}
}

// isLost tells that a mapped file was removed and that it is not one of the kernel's own, which are never anywhere: anonymous
// shared memory, System V shared memory, memfds, rings of asynchronous I/O.
func isLost(path string) bool {
	if !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, deleted) {
		return false
	}
	for _, own := range []string{"/dev/zero", "/SYSV", "/memfd:", "/[aio]"} {
		if strings.HasPrefix(path, own) {
			return false
		}
	}
	return true
}

// mappedPath is the last column of a line of /proc/PID/maps, empty if there is none.
func mappedPath(line []byte) string {
	fields := bytes.SplitN(line, []byte(" "), 6) // addresses, rights, offset, device, inode, blanks and path
	if len(fields) < 6 {
		return ""
	}
	return string(bytes.TrimSpace(fields[5]))
}

// messageQueues is the type of their file system, MQUEUE_MAGIC (ipc/mqueue.c of Linux).
const messageQueues = 0x19800202

// isMessageQueue tells whether a link of the process's directory leads to a POSIX message queue, without opening it.
func (t *task) isMessageQueue(link string) bool {
	var st unix.Statfs_t
	fd, err := unix.Openat(t.fd, link, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Fstatfs(fd, &st) == nil && st.Type == messageQueues
}
