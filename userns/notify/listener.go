package notify

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notification is struct seccomp_notif: a system call whose task waits for an answer.
type Notification struct {
	ID     uint64
	PID    uint32 // the thread, in the pid namespace of who reads; 0 if it is in none below that
	Flags  uint32
	Number int32
	Arch   uint32
	IP     uint64
	Args   [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	ID    uint64
	Value int64
	Error int32
	Flags uint32
}

// addition is struct seccomp_notif_addfd.
type addition struct {
	ID       uint64
	Flags    uint32
	FD       uint32
	NewFD    uint32
	NewFlags uint32
}

// Requests of <linux/seccomp.h> that golang.org/x/sys/unix does not name.
const (
	ioctlIDValid  = 0x40082102
	ioctlAddFD    = 0x40182103
	ioctlSetFlags = 0x40082104 // Linux 6.6
)

// errGone says that the last task of the filter is gone.
var errGone = errors.New("no task left")

// Listener is the answering end of a filter.
type Listener struct {
	file *os.File // keeps the descriptor open
	fd   int
}

// Listen takes the descriptor that installing a filter gave. The file must stay open while the listener is used, and
// remains the caller's to close.
//
// Errors: no seccomp notification in this kernel (Linux 5.0), or one newer than this program.
func Listen(f *os.File) (*Listener, error) {
	if err := checkSizes(); err != nil {
		return nil, err
	}
	l := &Listener{f, int(f.Fd())}
	l.syncWakeUp()
	return l, nil
}

// checkSizes fails on a kernel whose structures have outgrown ours: it would write past them.
func checkSizes() error {
	var sizes struct{ notif, resp, data uint16 }
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); e != 0 {
		return fmt.Errorf("ask for seccomp notification sizes (Linux 5.0): %w", e)
	}
	if uintptr(sizes.notif) > unsafe.Sizeof(Notification{}) || uintptr(sizes.resp) > unsafe.Sizeof(response{}) {
		return fmt.Errorf("seccomp notifications of %d and %d bytes: this kernel is newer than this program", sizes.notif, sizes.resp)
	}
	return nil
}

// syncWakeUp makes the two sides run on one processor in turn. Kernels before 6.6 refuse, and are slower.
func (l *Listener) syncWakeUp() {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), ioctlSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// receive waits for the next notification.
//
// Errors: EINTR and ENOENT (the task was interrupted or died): receive again; errGone.
func (l *Listener) receive(n *Notification) error {
	*n = Notification{}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	switch {
	case e == 0:
		return nil
	case e == unix.ENOENT && l.gone():
		return errGone
	}
	return e
}

// gone tells whether the filter has no task any more (Linux 5.9).
func (l *Listener) gone() bool {
	p := []unix.PollFd{{Fd: int32(l.fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

// waitGone blocks until the filter has no task any more, or until it is interrupted and stopped says so.
func (l *Listener) waitGone(stopped func() bool) error {
	p := []unix.PollFd{{Fd: int32(l.fd)}}
	for {
		switch _, err := unix.Poll(p, -1); {
		case errors.Is(err, unix.EINTR) && stopped():
			return nil
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("poll", err)
		case p[0].Revents&unix.POLLHUP != 0:
			return nil
		default:
			return fmt.Errorf("poll seccomp listener: unexpected events %#x", p[0].Revents)
		}
	}
}

// Valid tells whether the task still waits for the answer to this notification: what was opened of its directory in
// /proc was its own, not a successor's.
func (l *Listener) Valid(id uint64) bool {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), ioctlIDValid, uintptr(unsafe.Pointer(&id)))
	return e == 0
}

func (l *Listener) send(r *response) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
	return e
}

// sendFile answers with a descriptor: fd as the task's lowest free one. Kernels before 5.14 take two steps.
func (l *Listener) sendFile(id uint64, fd int, cloexec bool) unix.Errno {
	a := addition{ID: id, Flags: unix.SECCOMP_ADDFD_FLAG_SEND, FD: uint32(fd)}
	if cloexec {
		a.NewFlags = unix.O_CLOEXEC
	}
	_, e := l.addFile(&a)
	if e != unix.EINVAL {
		return e
	}
	a.Flags = 0
	n, e := l.addFile(&a)
	if e != 0 {
		return e
	}
	return l.send(&response{ID: id, Value: int64(n)})
}

// addFile lets no signal interrupt it: the kernel would then take a file back that was to come with the answer, but not
// the answer, and the task would be given descriptor 0, whatever that is (kernel/seccomp.c, seccomp_notify_addfd, seen on
// Linux 6.18). The Go runtime sends signals to its threads often.
func (l *Listener) addFile(a *addition) (int, unix.Errno) {
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return -1, unix.EINVAL
	}
	n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), ioctlAddFD, uintptr(unsafe.Pointer(a)))
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		panic(err) // it was valid before
	}
	return int(n), e
}
