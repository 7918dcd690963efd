// Package notifytest helps to test filters that ask a supervisor: without a kernel, and installed.
package notifytest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Case is a system call.
type Case struct {
	Name   string
	Arch   uint32 // AUDIT_ARCH_*
	Number uintptr
	Args   []uint64
	Asks   bool // whether the filter asks its supervisor about it, rather than letting it pass
}

// Check runs a filter on system calls.
func Check(t *testing.T, program []bpf.Instruction, cases []Case) {
	t.Helper()
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			want := unix.SECCOMP_RET_ALLOW
			if c.Asks {
				want = unix.SECCOMP_RET_USER_NOTIF
			}
			if got, err := vm.Run(c.data()); err != nil || got != want {
				t.Errorf("got %#x, %v, want %#x", got, err, want)
			}
		})
	}
}

// data is struct seccomp_data as the virtual machine wants it, whose loads are big endian.
func (c Case) data() []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, uint32(c.Number))
	binary.BigEndian.PutUint32(b[4:], c.Arch)
	for i, a := range c.Args {
		binary.BigEndian.PutUint32(b[16+8*i:], uint32(a))
	}
	return b
}

// Load sets no_new_privs and installs a filter, an array of struct sock_filter, on this thread. With
// SECCOMP_FILTER_FLAG_NEW_LISTENER among the flags it returns the listener.
func Load(filter []byte, flags uintptr) (listener int, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	fprog := unix.SockFprog{Len: uint16(len(filter) / unix.SizeofSockFilter), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	if e != 0 {
		return -1, os.NewSyscallError("seccomp", e)
	}
	return int(fd), nil
}

// Install is [Load] that sends the listener to the other end of a socket, and has the socket closed by execve(2).
func Install(filter []byte, flags uintptr, socket int) error {
	fd, err := Load(filter, flags)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(socket, []byte("x"), unix.UnixRights(fd), nil, 0); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	unix.CloseOnExec(socket)
	return unix.Close(fd)
}

// Receive returns the next listener that Install sends, nil once nobody has the other end of the socket.
func Receive(socket int) (*os.File, error) {
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(socket, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return nil, err
	}
	m, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(m) == 0 {
		return nil, errors.Join(errors.New("no listener came"), err)
	}
	fds, err := unix.ParseUnixRights(&m[0])
	if err != nil {
		return nil, fmt.Errorf("receive a listener: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "listener"), nil
}
