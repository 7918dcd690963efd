package emulate

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is a task of the container, by its thread id in the supervisor's pid namespace.
type process struct {
	pid  int
	proc int // descriptor of the supervisor's /proc
}

// path names a file below the task's directory, relative to /proc.
func (p process) path(name string) string { return strconv.Itoa(p.pid) + "/" + name }

// open gives an O_PATH handle of a file below the task's directory, following its magic links.
func (p process) open(name string) (int, error) {
	return unix.Openat(p.proc, p.path(name), unix.O_PATH|unix.O_CLOEXEC, 0)
}

// read gives a small file of the task's directory, at most 8 KiB of it.
func (p process) read(name string) ([]byte, error) {
	fd, err := unix.Openat(p.proc, p.path(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of process %d: %w", name, p.pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := make([]byte, 8<<10)
	n, err := unix.Read(fd, b)
	if err != nil {
		return nil, fmt.Errorf("read %s of process %d: %w", name, p.pid, err)
	}
	return b[:n], nil
}

// status gives one field of the task's status file, without the white space around it.
func (p process) status(field string) (string, error) {
	b, err := p.read("status")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(b) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && name == field {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("read status of process %d: no field %s", p.pid, field)
}

// statusNumber gives a field that is a number in the given base.
func (p process) statusNumber(field string, base int) (uint64, error) {
	s, err := p.status(field)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s of process %d: %w", field, p.pid, err)
	}
	return n, nil
}

// ownNumber is the process id of the task in its own pid namespace.
func (p process) ownNumber() (int32, error) {
	s, err := p.status("NStgid")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(s)
	n, err := strconv.ParseInt(f[len(f)-1], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read process id of process %d: %w", p.pid, err)
	}
	return int32(n), nil
}

// neighbour tells whether both tasks are in the same pid namespace.
func (p process) neighbour(other process) bool {
	mine, err := p.namespace()
	if err != nil {
		return false
	}
	theirs, err := other.namespace()
	return err == nil && mine == theirs
}

func (p process) namespace() (string, error) { return pidNamespace(p.proc, p.path("ns/pid")) }

// pidNamespace reads the name of a pid namespace from its link below a directory of /proc.
func pidNamespace(dir int, link string) (string, error) {
	b := make([]byte, 64)
	n, err := unix.Readlinkat(dir, link, b)
	if err != nil {
		return "", fmt.Errorf("read pid namespace %s: %w", link, err)
	}
	return string(b[:n]), nil
}
