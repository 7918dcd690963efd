package main

// #include "headstart.h"
import "C"

import (
	"os"

	"github.com/bivouac-run/bivouac/rootfs/aside"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

// startedAhead returns the keeper that headstart.c started, nil if there is none.
func startedAhead() *sandbox.RunningKeeper {
	h := &C.headstart
	if h.pid < 0 {
		return nil
	}
	k := &sandbox.RunningKeeper{
		PID: int(h.pid), Path: ownPath(),
		Socket: os.NewFile(uintptr(h.socket), "caller-socket"), Stderr: os.NewFile(uintptr(h.errors), "keeper-stderr"),
	}
	h.pid = -1
	return k
}

// remember has the next `bivouac run` start its keeper ahead, with the same map. It does not matter if that fails, as
// where the store cannot be written: then there is no head start.
func remember(m userns.Mapping) {
	var path, key [4096]C.char
	if C.headstart_file(&path[0], 4096) == 0 || C.headstart_key(&key[0], 2048) == 0 {
		return
	}
	file := C.GoString(&path[0])
	text := C.GoString(&key[0]) + "\n" + m.String() + "\n"
	if contains(file, text) {
		return
	}
	_ = aside.Write(file, []byte(text)) // without it the next start is only slower
}

// contains reads only what may be the text: the store may have anything in its place.
func contains(file, text string) bool {
	if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() || st.Size() != int64(len(text)) {
		return false
	}
	have, err := os.ReadFile(file)
	return err == nil && string(have) == text
}
