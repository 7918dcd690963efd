package notify

import "golang.org/x/sys/unix"

// Answer is what a call is told.
type Answer struct {
	value   int64
	errno   unix.Errno
	pass    bool // the kernel shall do what was asked
	file    int  // a descriptor for the task, closed once it is handed over; -1: none
	cloexec bool
}

// AsAsked lets the kernel do the call: also whenever something is wrong with it, so that the error is the kernel's.
func AsAsked() Answer { return Answer{pass: true, file: -1} }

// Value is what the call returns.
func Value(v int64) Answer { return Answer{value: v, file: -1} }

// Fail is how the call fails.
func Fail(e unix.Errno) Answer { return Answer{errno: e, file: -1} }

// File has the call return a descriptor for fd, which is closed when the answer is sent. It cannot be one of O_PATH.
func File(fd int, cloexec bool) Answer { return Answer{file: fd, cloexec: cloexec} }

// Errno is the error that the call is told, 0 for none.
func (a Answer) Errno() unix.Errno { return a.errno }

// Passes tells whether the kernel does the call.
func (a Answer) Passes() bool { return a.pass }

// send gives the answer to the task. A task that is gone in the meantime is no error.
func (a Answer) send(l *Listener, id uint64) unix.Errno {
	if a.file >= 0 {
		defer func() { _ = unix.Close(a.file) }()
		e := l.sendFile(id, a.file, a.cloexec)
		if e == 0 || e == unix.ENOENT || e == unix.EINPROGRESS {
			return 0
		}
		a.errno = e // EMFILE: the task has no free descriptor
	}
	r := response{ID: id, Value: a.value, Error: -int32(a.errno)}
	if a.pass {
		r.Flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	}
	if e := l.send(&r); e != unix.ENOENT {
		return e
	}
	return 0
}
