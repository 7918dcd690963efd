package bridge

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// kind is what the link of a mapping says it is.
type kind int

const (
	plain   kind = iota // a file with a name, or nothing at all
	ring                // of aio(7)
	socket              // the ring of a packet socket
	deleted             // a file without a name
)

// deletedMark ends the links of files that have no name any more, memory files and shared memory included. A file's real
// name may end so as well.
const deletedMark = " (deleted)"

func kindOf(link string) kind {
	_, isSocket := socketInode(link)
	switch {
	case isSocket:
		return socket
	case link == "/[aio]"+deletedMark:
		return ring
	case strings.HasSuffix(link, deletedMark):
		return deleted
	}
	return plain
}

// socketInode reads "socket:[123]". No file has such a link: theirs begin with a slash.
func socketInode(link string) (uint64, bool) {
	text, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return n, err == nil
}

// link is what a mapping shows.
func (p process) link(r addresses) string { return readLink(int(p), "map_files/"+r.String()) }

// statOwn tells CRIU what it has mapped itself.
func (c *call) statOwn(r addresses, buffer uint64) notify.Answer {
	self, err := unix.Openat(c.procfs, strconv.Itoa(int(c.PID)), handleFlags|unix.O_DIRECTORY, 0)
	if err != nil {
		return notify.AsAsked()
	}
	defer closeFD(self)
	m, ok := process(self).mapping(r)
	if !ok || m.device == 0 { // not the inode: that of the first System V segment is 0
		return notify.AsAsked()
	}
	return c.writeStat(buffer, unix.Stat_t{Dev: m.device, Ino: m.inode, Mode: unix.S_IFREG | 0o600, Nlink: 1})
}

// statMapping follows openMapping's ENXIO: CRIU knows a ring of aio by its lack of a type (vma_get_mapfile in proc_parse.c).
func (c *call) statMapping(p process, r addresses, buffer uint64) notify.Answer {
	link := p.link(r)
	switch kindOf(link) {
	case ring:
		return c.writeStat(buffer, unix.Stat_t{Mode: 0o600, Nlink: 1})
	case socket:
		inode, _ := socketInode(link)
		return c.writeStat(buffer, unix.Stat_t{Mode: unix.S_IFSOCK | 0o777, Nlink: 1, Ino: inode})
	}
	return notify.AsAsked()
}

// openMapping opens what a process has mapped.
func (c *call) openMapping(p process, r addresses) notify.Answer {
	switch kindOf(p.link(r)) {
	case ring, socket:
		return notify.Fail(unix.ENXIO)
	case deleted:
		return c.openDeleted(p, r)
	}
	return notify.AsAsked()
}

// openDeleted opens the file through a descriptor of the process, or of another one of the container: a memory file that two
// share is one for CRIU only if both have it.
func (c *call) openDeleted(p process, r addresses) notify.Answer {
	m, ok := p.mapping(r)
	if !ok || c.anonymous(m) {
		return notify.AsAsked()
	}
	fd, ok := p.openInode(m)
	if !ok {
		c.others(p, func(o process) bool {
			fd, ok = o.openInode(m)
			return !ok
		})
	}
	if !ok {
		return notify.AsAsked()
	}
	return c.file(fd)
}

// anonymous tells whether a mapping is of shared memory that no descriptor can be of.
func (c *call) anonymous(m mapping) bool {
	return m.device == c.shmem && (m.name == "/dev/zero"+deletedMark || strings.HasPrefix(m.name, "/SYSV"))
}

// openInode opens, to read, a file that the process has open.
func (p process) openInode(m mapping) (int, bool) {
	fd, err := unix.Openat(int(p), "fd", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, false
	}
	dir := os.NewFile(uintptr(fd), "fd")
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if !m.isRegularAt(fd, name, 0) {
			continue
		}
		if h, ok := m.reopen(fd, name); ok {
			return h, true
		}
	}
	return -1, false
}

// isRegularAt asks no file system: the program behind one may be stopped.
func (m mapping) isRegularAt(dir int, name string, flags int) bool {
	var x unix.Statx_t
	err := unix.Statx(dir, name, flags|unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO|unix.STATX_TYPE, &x)
	return err == nil && x.Mode&unix.S_IFMT == unix.S_IFREG && x.Ino == m.inode && unix.Mkdev(x.Dev_major, x.Dev_minor) == m.device
}

// reopen takes a handle first, so that what is opened is what was looked at.
func (m mapping) reopen(dir int, name string) (int, bool) {
	h, err := unix.Openat(dir, name, handleFlags, 0)
	if err != nil {
		return -1, false
	}
	defer closeFD(h)
	if !m.isRegularAt(h, "", unix.AT_EMPTY_PATH) {
		return -1, false
	}
	// A lease of the file would have this wait for who has it, who is stopped.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", h), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, false
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		closeFD(fd)
		return -1, false
	}
	return fd, true
}
