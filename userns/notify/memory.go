package notify

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

const pageSize = 4096 // the smallest a kernel may have: no read crosses one, so none fails for bytes it does not need

// ReadMemory copies from a task's memory.
//
// Errors: EFAULT.
func ReadMemory(pid int, address uint64, b []byte) unix.Errno {
	return transfer(unix.SYS_PROCESS_VM_READV, pid, address, b)
}

// WriteMemory copies into a task's memory, where the task itself may write.
//
// Errors: EFAULT.
func WriteMemory(pid int, address uint64, b []byte) unix.Errno {
	return transfer(unix.SYS_PROCESS_VM_WRITEV, pid, address, b)
}

func transfer(number uintptr, pid int, address uint64, b []byte) unix.Errno {
	if len(b) == 0 {
		return 0
	}
	local := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	remote := unix.RemoteIovec{Base: uintptr(address), Len: len(b)}
	n, _, e := unix.Syscall6(number, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1,
		uintptr(unsafe.Pointer(&remote)), 1, 0)
	if e != 0 || int(n) != len(b) {
		return unix.EFAULT
	}
	return 0
}

// ReadString copies a path.
//
// Errors: EFAULT, ENAMETOOLONG.
func ReadString(pid int, address uint64) (string, unix.Errno) {
	var b [unix.PathMax]byte
	for n := 0; n < len(b); {
		chunk := b[n : n+min(len(b)-n, pageSize-int((address+uint64(n))%pageSize))]
		if e := ReadMemory(pid, address+uint64(n), chunk); e != 0 {
			return "", e
		}
		if i := bytes.IndexByte(chunk, 0); i >= 0 {
			return string(b[:n+i]), 0
		}
		n += len(chunk)
	}
	return "", unix.ENAMETOOLONG
}

// BytesOf views a kernel structure as memory.
func BytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
