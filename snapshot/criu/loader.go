package criu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// isMusl tells the loader of musl from that of glibc.
func isMusl(loader string) bool { return strings.HasPrefix(filepath.Base(loader), "ld-musl-") }

// copyLoader returns a copy of the loader in memory that preloads no libraries by a file. Glibc's loads everything that is
// named in /etc/ld.so.preload, and no option and no variable prevents it: in a container, that file is the container's,
// and what it names would run with CRIU's capabilities.
func copyLoader(path string) (*os.File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	blankPreload(content)
	f, err := memoryFile(content)
	if err != nil {
		return nil, fmt.Errorf("copy %s into memory: %w", path, err)
	}
	return f, nil
}

// blankPreload makes every string of a program that is an absolute path ending in ".preload" (Nix has another one than
// the others) the empty path, which never exists. It returns how many there were.
func blankPreload(program []byte) int {
	n := 0
	for rest := program; ; {
		end := bytes.Index(rest, []byte(".preload\x00"))
		if end < 0 {
			return n
		}
		if start := bytes.LastIndexByte(rest[:end], 0) + 1; rest[start] == '/' {
			rest[start] = 0
			n++
		}
		rest = rest[end+1:]
	}
}

// memoryFile returns an executable file with the content, open for reading: what is open for writing cannot be executed.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("loader", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("loader", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	w := os.NewFile(uintptr(fd), "loader")
	if _, err := w.Write(content); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r, err := os.Open(descriptor(fd))
	return r, errors.Join(err, w.Close())
}
