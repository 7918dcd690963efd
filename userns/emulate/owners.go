package emulate

import (
	"errors"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxInodes bounds the owners that are kept in memory.
const maxInodes = 1 << 20

// inode identifies a file for as long as it exists. The time of birth tells it from a successor with its number.
type inode struct {
	major, minor uint32
	number       uint64
	born         unix.StatxTimestamp
}

// memory keeps the owners of files that cannot carry the attribute.
type memory struct {
	mu     sync.RWMutex
	owners map[inode]Owner
}

func (m *memory) empty() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.owners) == 0
}

func (m *memory) get(i inode) (Owner, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.owners[i]
	return o, ok
}

func (m *memory) set(i inode, o Owner) unix.Errno {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o == (Owner{}) {
		delete(m.owners, i)
		return 0
	}
	if _, known := m.owners[i]; !known && len(m.owners) >= maxInodes {
		return unix.ENOSPC
	}
	m.owners[i] = o
	return 0
}

func inodeOf(fd int) (inode, error) {
	var x unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_BTIME, &x); err != nil {
		return inode{}, err
	}
	i := inode{major: x.Dev_major, minor: x.Dev_minor, number: x.Ino}
	if x.Mask&unix.STATX_BTIME != 0 {
		i.born = x.Btime
	}
	return i, nil
}

// self names an open file relative to /proc, the directory of a worker: attributes cannot be had through O_PATH.
func self(fd int) string { return "self/fd/" + strconv.Itoa(fd) }

// label gives the emulated owner of the file at a path, if it carries one. A label that cannot be read is none.
func (s *server) label(path string) (Owner, bool) {
	var b [32]byte
	n, err := unix.Getxattr(path, XattrName, b[:])
	if err != nil {
		return Owner{}, false
	}
	o, err := UnmarshalOwner(b[:n])
	if err != nil {
		s.options.Log("%v", err)
	}
	return o, err == nil
}

// ownerOf gives the emulated owner of an open file, if it is not the real one.
func (s *server) ownerOf(fd int) (Owner, bool) {
	if o, ok := s.label(self(fd)); ok {
		return o, true
	}
	return s.remembered(fd)
}

func (s *server) remembered(fd int) (Owner, bool) {
	if s.state.owners.empty() {
		return Owner{}, false
	}
	i, err := inodeOf(fd)
	if err != nil {
		return Owner{}, false
	}
	return s.state.owners.get(i)
}

// setOwner stores the owner of an open file.
func (s *server) setOwner(fd int, o Owner) error {
	err := s.setLabel(fd, o)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	i, err := inodeOf(fd)
	if err != nil {
		return err
	}
	if e := s.state.owners.set(i, o); e != 0 {
		return e
	}
	return nil
}

func (s *server) setLabel(fd int, o Owner) error {
	if o != (Owner{}) {
		return unix.Setxattr(self(fd), XattrName, o.Marshal(), 0)
	}
	err := unix.Removexattr(self(fd), XattrName)
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	return err
}
