package network

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipe is where splice(2) keeps bytes that are on their way from one socket to another.
type pipe struct{ r, w int }

// pipeSize is how much a pipe holds, in bytes: as much as the kernel gives to users by default.
const pipeSize = 1 << 20

// pipes are empty ones for the next who needs one. A connection has a pipe only while bytes are on their way: the kernel
// bounds a user's pipes (pipe(7), pipe-user-pages-soft) to 64 of this size, and makes all others tiny. io.Copy keeps two
// for each connection.
var pipes = make(chan pipe, 8)

func takePipe() (pipe, error) {
	select {
	case p := <-pipes:
		return p, nil
	default:
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return pipe{}, os.NewSyscallError("pipe2", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one is slower
	return pipe{fds[0], fds[1]}, nil
}

// release gives an empty pipe back.
func (p pipe) release() {
	select {
	case pipes <- p:
	default:
		p.close()
	}
}

func (p pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// stream passes bytes on from src to dst within the kernel, until src ends.
func stream(dst, src *net.TCPConn) error {
	from, err := src.SyscallConn()
	if err != nil {
		return err
	}
	to, err := dst.SyscallConn()
	if err != nil {
		return err
	}
	for {
		p, n, err := fill(from)
		if err != nil || n == 0 {
			return err
		}
		if err := drainInto(to, p, n); err != nil {
			p.close()
			return err
		}
		p.release()
	}
}

// fill waits for bytes and takes what there is. At the end it returns 0 and no pipe.
func fill(from syscall.RawConn) (p pipe, n int, err error) {
	waited := from.Read(func(fd uintptr) bool {
		if p, err = takePipe(); err != nil {
			return true
		}
		n, err = spliceOnce(int(fd), p.w, pipeSize)
		if n == 0 {
			p.release()
		}
		return !errors.Is(err, unix.EAGAIN)
	})
	if waited != nil {
		return pipe{}, 0, waited
	}
	return p, n, err
}

// drainInto sends the n bytes of a pipe.
func drainInto(to syscall.RawConn, p pipe, n int) (err error) {
	for n > 0 {
		sent := 0
		waited := to.Write(func(fd uintptr) bool {
			sent, err = spliceOnce(p.r, int(fd), n)
			return !errors.Is(err, unix.EAGAIN)
		})
		if waited != nil {
			return waited
		}
		if err != nil {
			return err
		}
		n -= sent
	}
	return nil
}

func spliceOnce(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err == nil {
			return int(n), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, err
		}
	}
}
