package emulate

import (
	"errors"

	"golang.org/x/sys/unix"
)

// answer is what a call is told.
type answer struct {
	value   int64
	errno   unix.Errno
	pass    bool // the kernel shall do what was asked
	file    int  // a descriptor for the task, closed once it is handed over; -1: none
	cloexec bool
}

// asAsked lets the kernel do the call: also whenever something is wrong with it, so that the error is the kernel's.
func asAsked() answer { return answer{pass: true, file: -1} }

func value(v int64) answer { return answer{value: v, file: -1} }

func fail(e unix.Errno) answer { return answer{errno: e, file: -1} }

// failed is fail for the errors of golang.org/x/sys/unix, or asAsked for others, which are ours.
func failed(err error) answer {
	var e unix.Errno
	if errors.As(err, &e) {
		return fail(e)
	}
	return asAsked()
}

// result is value 0 or an error.
func result(e unix.Errno) answer {
	if e != 0 {
		return fail(e)
	}
	return value(0)
}

func file(fd int, cloexec bool) answer { return answer{file: fd, cloexec: cloexec} }

// send gives the answer to the task. A task that is gone in the meantime is no error.
func (a answer) send(l listener, id uint64) unix.Errno {
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
