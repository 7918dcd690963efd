package userns

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeSeccomp sends a system call to itself and lets it continue, as the emulation does: filters that notify are Linux
// 5.0, continuing is 5.5.
func probeSeccomp(string) verdict {
	listeners, result := make(chan listener), make(chan error, 1)
	go notifyingThread(listeners, result)
	l := <-listeners
	if l.err != nil {
		return no(fmt.Errorf("install a filter: %w", l.err), seccompRemedy(l.err))
	}
	defer unix.Close(l.fd)
	if err := l.answerOne(); err != nil {
		return no(fmt.Errorf("answer a notification: %w", err), "start Linux 5.5 or newer")
	}
	if err := <-result; err != nil {
		return no(fmt.Errorf("continue a system call: %w", err), "start Linux 5.5 or newer")
	}
	return yes("a system call was notified and continued")
}

func seccompRemedy(err error) string {
	if errors.Is(err, unix.EBUSY) {
		return "run it outside of the container whose own notifications are in the way"
	}
	return "start Linux 5.5 or newer with CONFIG_SECCOMP_FILTER"
}

type listener struct {
	fd  int
	err error
}

// notifyingThread filters itself and makes the call that is notified. The thread stays locked and ends with the goroutine,
// and the filter with it.
func notifyingThread(listeners chan<- listener, result chan<- error) {
	runtime.LockOSThread()
	l := installFilter()
	listeners <- l
	if l.err != nil {
		return
	}
	// The blocking form, so that the scheduler lets the answering side run meanwhile.
	if _, _, errno := unix.Syscall(unix.SYS_GETPRIORITY, 99, 0, 0); errno != unix.EINVAL {
		result <- fmt.Errorf("it returned %w", errno)
		return
	}
	result <- nil
}

// installFilter makes getpriority(2) a notification and lets all other calls pass. Root of a user namespace needs no
// no_new_privs for it. The number is read without the architecture, which is enough for a filter that guards nothing.
func installFilter() listener {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_GETPRIORITY},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return listener{err: errno}
	}
	return listener{fd: int(fd)}
}

// seccompNotification is struct seccomp_notif of linux/seccomp.h.
type seccompNotification struct {
	id                 uint64
	pid, flags         uint32
	number             int32
	architecture       uint32
	instructionPointer uint64
	arguments          [6]uint64
}

// seccompResponse is struct seccomp_notif_resp of linux/seccomp.h.
type seccompResponse struct {
	id           uint64
	value        int64
	errno, flags int32
}

func (l listener) answerOne() error {
	var n seccompNotification
	if err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
		return err
	}
	r := seccompResponse{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

func (l listener) ioctl(request uint, argument unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), uintptr(request), uintptr(argument))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}
