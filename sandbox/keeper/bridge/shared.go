package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// openShared gives a copy of an object of shared memory. A process may have mapped a part of it only, or in pieces, so it is
// put together from all who have it.
//
// CRIU falls back to a way of its own for EPERM alone, which knows nothing of pieces: other errors end the dump.
func (c *call) openShared(p process, r addresses) notify.Answer {
	m, ok := p.mapping(r)
	if !ok || !m.shared || kindOf(p.link(r)) != deleted {
		return notify.AsAsked()
	}
	fd, err := c.copyObject(p, m)
	if err != nil {
		c.options.Log("copy shared memory %d of process %s: %v", m.inode, p.number(), err)
		return notify.Fail(errnoOf(err))
	}
	return c.file(fd)
}

func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) && e != unix.EPERM {
		return e
	}
	return unix.EIO
}

func (c *call) copyObject(p process, m mapping) (int, error) {
	o := &object{mapping: m}
	if err := c.plan(p, o); err != nil {
		return -1, err
	}
	defer o.close()
	if most := c.mostShared(); o.size() > most {
		return -1, fmt.Errorf("%d bytes, %d are to be had: %w", o.size(), most, unix.ENOMEM)
	}
	fd, err := memoryFile("shared")
	if err != nil {
		return -1, err
	}
	if err := c.fill(fd, o); err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// plan finds out what is to be read from whom. System V memory is mapped by CRIU itself, and as a whole.
func (c *call) plan(p process, o *object) error {
	if err := o.from(p); err != nil || strings.HasPrefix(o.name, "/SYSV") {
		return err
	}
	var err error
	c.others(p, func(other process) bool {
		err = o.from(other)
		return err == nil
	})
	return err
}

// mostShared is the largest size that is read.
func (c *call) mostShared() uint64 {
	if c.options.MaxShared != 0 {
		return c.options.MaxShared
	}
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return available(b)
}

// available reads MemAvailable, in bytes.
func available(meminfo []byte) uint64 {
	for line := range bytes.Lines(meminfo) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "MemAvailable:" {
			n, _ := strconv.ParseUint(string(f[1]), 10, 54)
			return n << 10
		}
	}
	return 0
}

func (c *call) fill(fd int, o *object) error {
	if err := unix.Ftruncate(fd, int64(o.end)); err != nil {
		return fmt.Errorf("make %d bytes of memory: %w", o.end, err)
	}
	buffer := make([]byte, min(chunk, o.size()))
	for _, piece := range o.pieces {
		if err := c.copyPiece(fd, piece, buffer); err != nil {
			return err
		}
	}
	return nil
}

const chunk = 1 << 20

func (c *call) copyPiece(fd int, p piece, buffer []byte) error {
	for done := uint64(0); done < p.length; {
		if !c.alive() {
			return unix.ESRCH
		}
		b := buffer[:min(uint64(len(buffer)), p.length-done)]
		n, err := unix.Pread(int(p.memory.Fd()), b, int64(p.address+done))
		if err != nil || n == 0 {
			return errors.Join(fmt.Errorf("read memory at %x: nothing there", p.address+done), err)
		}
		if err := writeSparse(fd, b[:n], int64(p.offset+done)); err != nil {
			return err
		}
		done += uint64(n)
	}
	return nil
}

var (
	pageSize = os.Getpagesize()
	zeros    = make([]byte, pageSize)
)

// writeSparse writes the pages that are not zero, those that follow each other at once.
func writeSparse(fd int, b []byte, offset int64) error {
	page := func(i int) []byte { return b[i:min(i+pageSize, len(b))] }
	isZero := func(i int) bool { return bytes.Equal(page(i), zeros[:len(page(i))]) }
	for i := 0; i < len(b); {
		first := i
		for i < len(b) && !isZero(i) {
			i += len(page(i))
		}
		if err := writeAll(fd, b[first:i], offset+int64(first)); err != nil {
			return err
		}
		for i < len(b) && isZero(i) {
			i += len(page(i))
		}
	}
	return nil
}

func writeAll(fd int, b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, offset)
		if err != nil {
			return fmt.Errorf("write to memory: %w", err)
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// memoryFile is one that nobody can execute (Linux 6.3): some machines allow no other.
func memoryFile(name string) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, fmt.Errorf("make a memory file: %w", err)
	}
	return fd, nil
}

func shmemDevice() (uint64, error) {
	fd, err := memoryFile("device")
	if err != nil {
		return 0, err
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("find the device of shared memory: %w", err)
	}
	return st.Dev, nil
}
