package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

func (p process) readMemory(address uint64, b []byte) unix.Errno {
	return notify.ReadMemory(p.pid, address, b)
}

func (p process) writeMemory(address uint64, b []byte) unix.Errno {
	return notify.WriteMemory(p.pid, address, b)
}

func (p process) readString(address uint64) (string, unix.Errno) {
	return notify.ReadString(p.pid, address)
}
