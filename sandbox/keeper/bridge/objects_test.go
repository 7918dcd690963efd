package bridge

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// objects are what a process has mapped, for those who inspect it.
type objects struct {
	PID     int
	Memory  region // a memory file that is open as well
	Gone    region // a deleted file that is open as well
	Lost    region // a deleted file that is not
	Named   region // a file with a name
	Ring    region // of aio(7)
	Pieces  []region
	Keepers region // a memory file of the keeper's
}

// region is a mapping, and what is behind it.
type region struct {
	Start, End uint64
	FD         int
	Inode      uint64
}

func (r region) addresses() addresses { return addresses{r.Start, r.End} }

const (
	objectPages = 64
	hello       = "hello"
)

// makeObjects is what the process that is inspected does, in its directory. hold is called before a part of the shared memory
// is given up.
func makeObjects(hold func() error) (o objects, err error) {
	o.PID = os.Getpid()
	memory, err := unix.MemfdCreate("object", unix.MFD_CLOEXEC)
	if err != nil {
		return o, err
	}
	gone, err := unix.Open("gone", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return o, err
	}
	lost, err := unix.Open("lost", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return o, err
	}
	named, err := unix.Open("named", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return o, err
	}
	for fd, r := range map[int]*region{memory: &o.Memory, gone: &o.Gone, lost: &o.Lost, named: &o.Named} {
		if *r, err = mapFile(fd); err != nil {
			return o, err
		}
	}
	if err := errors.Join(unix.Unlink("gone"), unix.Unlink("lost"), unix.Close(lost)); err != nil {
		return o, err
	}
	o.Pieces, err = mapPieces(hold)
	return o, err
}

// mapFile says hello in a file, by the mapping.
func mapFile(fd int) (region, error) {
	if err := unix.Ftruncate(fd, int64(pageSize)); err != nil {
		return region{}, err
	}
	b, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return region{}, err
	}
	copy(b, hello)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	start := addressOf(b)
	return region{start, start + uint64(len(b)), fd, st.Ino}, err
}

func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// mapPieces maps shared memory whose middle is protected, so that it is in three pieces, of which the first is given up; and
// a part of it once more, at lower addresses. hold is called while all is still mapped. Of the pages with text, 1 is in the first piece,
// 10 in the first and in the other mapping, 20 in all but the first, 50 in the last.
func mapPieces(hold func() error) ([]region, error) {
	room, err := unix.MmapPtr(-1, 0, nil, uintptr((16+objectPages)*pageSize), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	p, err := unix.MmapPtr(-1, 0, unsafe.Add(room, 16*pageSize), uintptr(objectPages*pageSize), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANON|unix.MAP_FIXED)
	if err != nil {
		return nil, err
	}
	b := unsafe.Slice((*byte)(p), objectPages*pageSize)
	for _, page := range []int{1, 10, 20, 50} {
		copy(b[page*pageSize:], fmt.Sprintf("page %d", page))
	}
	start, size := uintptr(addressOf(b)), uintptr(pageSize)
	again, _, e := unix.Syscall6(unix.SYS_MREMAP, start+8*size, 0, 16*size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, uintptr(room), 0)
	if e != 0 {
		return nil, os.NewSyscallError("mremap", e)
	}
	err = errors.Join(hold(), unix.Mprotect(b[16*pageSize:32*pageSize], unix.PROT_READ))
	if _, _, e := unix.Syscall(unix.SYS_MUNMAP, start, 16*size, 0); e != 0 {
		err = errors.Join(err, os.NewSyscallError("munmap", e))
	}
	return []region{
		{Start: uint64(start + 16*size), End: uint64(start + 32*size), FD: -1},
		{Start: uint64(start + 32*size), End: uint64(start + objectPages*size), FD: -1},
		{Start: uint64(again), End: uint64(again + 16*size), FD: -1},
	}, err
}

// fork makes a process that only has what this one has mapped.
func fork() error {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	for e == 0 && pid == 0 {
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	if e != 0 {
		return os.NewSyscallError("clone", e)
	}
	return nil
}

// mapRing has the kernel map a ring.
func mapRing(p process) (region, error) {
	var ring uint64
	if _, _, e := unix.Syscall(unix.SYS_IO_SETUP, 8, uintptr(unsafe.Pointer(&ring)), 0); e != 0 {
		return region{}, os.NewSyscallError("io_setup", e)
	}
	r := region{FD: -1}
	err := p.eachMapping(func(m mapping) bool {
		if m.start == ring {
			r.Start, r.End = m.start, m.end
		}
		return r.End == 0
	})
	return r, err
}
