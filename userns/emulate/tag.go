package emulate

import (
	"fmt"
	"hash/fnv"
	"strings"

	"golang.org/x/sys/unix"
)

// tagResource is the limit whose soft value carries a process's tag. Linux has not enforced it since 2.4.25, copies it
// at fork and keeps it at exec.
const tagResource = 10 // RLIMIT_LOCKS

// tag says which credentials a process has. The zero tag is a process that changed nothing.
type tag struct {
	number uint32 // in the table, 24 bits
	image  uint64 // what the process executed when it got them, 40 bits; 0 when execve does not matter
}

const (
	numberBits = 24
	imageMask  = 1<<40 - 1
)

// The limit is the complement, so that the usual infinity is the zero tag.
func (t tag) limit() uint64 { return ^(t.image<<numberBits | uint64(t.number)) }

func tagOf(limit uint64) tag {
	return tag{uint32(^limit & (1<<numberBits - 1)), ^limit >> numberBits}
}

func readTag(pid int) (tag, error) {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, tagResource, nil, &l); err != nil {
		return tag{}, fmt.Errorf("read tag of process %d: %w", pid, err)
	}
	return tagOf(l.Cur), nil
}

func writeTag(pid int, t tag) error {
	l := unix.Rlimit{Cur: t.limit(), Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, tagResource, &l, nil); err != nil {
		return fmt.Errorf("write tag of process %d (needs an unlimited hard RLIMIT_LOCKS): %w", pid, err)
	}
	return nil
}

// checkTagResource fails where the supervisor's own limit, which the container inherits, leaves no room for tags.
func checkTagResource() error {
	var l unix.Rlimit
	if err := unix.Prlimit(0, tagResource, nil, &l); err != nil {
		return fmt.Errorf("read RLIMIT_LOCKS: %w", err)
	}
	if l.Max != unix.RLIM_INFINITY {
		return fmt.Errorf("hard limit of file locks is %d, emulated ids need it unlimited: remove \"locks\" from limits.conf", l.Max)
	}
	return nil
}

// image identifies what a process has executed, by where the kernel put it: the addresses in its stat file are
// random at every execve(2) and inherited by fork(2).
func (p process) image() (uint64, error) {
	b, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const startCode, startStack = 26 - 3, 28 - 3 // proc(5) counts from 1, and the first two are cut off
	if len(f) <= startStack {
		return 0, fmt.Errorf("read stat of process %d: %d fields", p.pid, len(f))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(f[startCode] + " " + f[startStack]))
	return h.Sum64()&imageMask | 1, nil
}
