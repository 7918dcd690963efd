package e2e

import (
	"bytes"
	bits "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// thing makes something that processes have, and tells how to see that it is still there and works.
type thing func() (check func() error, err error)

// things are those of a program that is checkpointed.
var things = map[string]thing{
	"threads":               threads8,
	"pipe":                  pipeWithData,
	"fifo":                  fifoWithData,
	"unix stream":           func() (func() error, error) { return socketPairWithData(unix.SOCK_STREAM) },
	"unix packets":          func() (func() error, error) { return socketPairWithData(unix.SOCK_SEQPACKET) },
	"unix datagrams":        func() (func() error, error) { return socketPairWithData(unix.SOCK_DGRAM) },
	"abstract unix socket":  abstractSocket,
	"loopback connection":   loopback,
	"datagram under way":    datagram,
	"terminal of its own":   terminal,
	"epoll":                 epoll,
	"eventfd":               eventfd,
	"timerfd":               timerfd,
	"signalfd":              signalfd,
	"inotify":               inotify,
	"removed open file":     removedFile,
	"flock":                 flock,
	"record lock":           func() (func() error, error) { return recordLock(unix.F_SETLK, os.Getpid()) },
	"open file's lock":      func() (func() error, error) { return recordLock(unix.F_OFD_SETLK, -1) },
	"System V memory":       sysvMemory,
	"System V semaphore":    sysvSemaphore,
	"System V message":      sysvMessage,
	"POSIX shared memory":   func() (func() error, error) { return sharedFile("/dev/shm/area") },
	"mapped file":           func() (func() error, error) { return sharedFile("/data/area") },
	"memory file":           memoryFile,
	"child's shared memory": childMemory,
	"interval timer":        intervalTimer,
	"POSIX timer":           posixTimer,
	"stopped child":         stoppedChild,
	"zombie":                zombie,
	"attributes":            attributes,
	"alarm":                 alarm,
}

func sys(call uintptr, args ...uintptr) error {
	_, err := sysValue(call, args...)
	return err
}

func sysValue(call uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	n, _, errno := unix.Syscall6(call, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func pointer[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// startChild starts this binary as another program, and never waits for it.
func startChild(role string, attr *syscall.SysProcAttr) error {
	_, err := startedChild(role, attr)
	return err
}

func startedChild(role string, attr *syscall.SysProcAttr) (*exec.Cmd, error) {
	runtime.LockOSThread() // for ever: a tracer is a thread
	cmd := exec.Command("/program")
	cmd.Env = []string{programVariable + "=" + role}
	cmd.SysProcAttr = attr
	return cmd, cmd.Start()
}

// differs tells what is not as it should be.
func differs(got, want any) error {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return nil
	}
	return fmt.Errorf("%v instead of %v", got, want)
}

// onThread runs functions on one thread of its own.
func onThread() func(func()) {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return func(f func()) {
		done := make(chan struct{})
		work <- func() { defer close(done); f() }
		<-done
	}
}

func threads8() (func() error, error) {
	var on [8]func(func())
	var ids [8]int
	for i := range on {
		on[i] = onThread()
		on[i](func() {
			ids[i] = unix.Gettid()
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, i)
		})
	}
	return func() (err error) {
		for i := range on {
			on[i](func() {
				nice, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
				err = errors.Join(err, differs([]int{unix.Gettid(), nice}, []int{ids[i], 20 - i})) // the kernel's number
			})
		}
		return err
	}, nil
}

const left = "left on the way"

// echoing reads what is there, and writes it again.
func echoing(r io.Reader, w io.Writer) (func() error, error) {
	_, err := io.WriteString(w, left)
	return func() error {
		text := make([]byte, len(left))
		if _, err := io.ReadFull(r, text); err != nil {
			return err
		}
		_, err := io.WriteString(w, left)
		return errors.Join(err, differs(string(text), left))
	}, err
}

// number is a descriptor that reads and writes without Go's poller.
type number int

func (d number) Read(p []byte) (int, error)  { return unix.Read(int(d), p) }
func (d number) Write(p []byte) (int, error) { return unix.Write(int(d), p) }

func pipeWithData() (func() error, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	return echoing(number(fds[0]), number(fds[1]))
}

func fifoWithData() (func() error, error) {
	if err := unix.Mkfifo("/data/fifo", 0o600); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/data/fifo", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return echoing(number(fd), number(fd))
}

func socketPairWithData(kind int) (func() error, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return echoing(number(fds[0]), number(fds[1]))
}

func abstractSocket() (func() error, error) {
	l, err := net.Listen("unix", "@abstract")
	if err != nil {
		return nil, err
	}
	return func() error {
		c, err := net.Dial("unix", "@abstract")
		if err != nil {
			return err
		}
		defer c.Close()
		server, err := l.Accept()
		if err != nil {
			return err
		}
		return server.Close()
	}, nil
}

// loopback is a connection with bytes under way in both directions.
func loopback() (func() error, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	b, err := l.Accept()
	if err != nil {
		return nil, err
	}
	to, err := echoing(a, b)
	if err != nil {
		return nil, err
	}
	from, err := echoing(b, a)
	return func() error { return errors.Join(to(), from()) }, err
}

func datagram() (func() error, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return func() error {
		if _, err := c.WriteTo([]byte(left), c.LocalAddr()); err != nil {
			return err
		}
		text := make([]byte, 100)
		n, err := c.Read(text)
		return errors.Join(err, differs(string(text[:n]), left))
	}, nil
}

// terminal is a pair of which the slave has a size.
func terminal() (func() error, error) {
	master, err := os.OpenFile("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	size := unix.Winsize{Row: 33, Col: 99}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		return nil, err
	}
	return func() error {
		now, err := unix.IoctlGetWinsize(int(slave.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return err
		}
		if _, err := slave.WriteString(left + "\n"); err != nil {
			return err
		}
		text := make([]byte, 100)
		read, err := master.Read(text)
		return errors.Join(err, differs(string(text[:read]), left+"\r\n"), differs(*now, size))
	}, nil
}

func epoll() (func() error, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 4711})
	return func() error {
		var events [1]unix.EpollEvent
		if n, err := unix.EpollWait(poll, events[:], 0); n != 0 || err != nil {
			return fmt.Errorf("%d events too many: %w", n, err)
		}
		var one [8]byte
		bits.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(event, one[:])
		if n, err := unix.EpollWait(poll, events[:], 5000); n != 1 || err != nil {
			return fmt.Errorf("%d events: %w", n, err)
		}
		_, err := unix.Read(event, one[:])
		return errors.Join(err, differs(events[0].Fd, 4711))
	}, err
}

func eventfd() (func() error, error) {
	fd, err := unix.Eventfd(41, unix.EFD_CLOEXEC)
	return func() error {
		var n [8]byte
		if _, err := unix.Read(fd, n[:]); err != nil {
			return err
		}
		_, err := unix.Write(fd, n[:])
		return errors.Join(err, differs(bits.NativeEndian.Uint64(n[:]), 41))
	}, err
}

// signalfd has a signal of one thread that waits to be read.
func signalfd() (func() error, error) {
	on := onThread()
	var fd int
	var err error
	send := func() error { return unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGUSR2) }
	on(func() {
		set := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGUSR2 - 1)}}
		if err = unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err == nil {
			fd, err = unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
		}
		err = errors.Join(err, send())
	})
	return func() (err error) {
		on(func() {
			var info unix.SignalfdSiginfo
			_, err = unix.Read(fd, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
			err = errors.Join(err, differs(info.Signo, uint32(unix.SIGUSR2)), send())
		})
		return err
	}, err
}

func inotify() (func() error, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir("/data/watched", 0o755); err != nil {
		return nil, err
	}
	_, err = unix.InotifyAddWatch(fd, "/data/watched", unix.IN_CREATE)
	return func() error {
		if err := errors.Join(os.WriteFile("/data/watched/file", nil, 0o600), os.Remove("/data/watched/file")); err != nil {
			return err
		}
		var event [256]byte
		n, err := unix.Read(fd, event[:])
		if err == nil && !bytes.Contains(event[:n], []byte("file\x00")) {
			err = fmt.Errorf("%q", event[:n])
		}
		return err
	}, err
}

func removedFile() (func() error, error) {
	f, err := os.Create("/data/removed")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(left)
	return func() error {
		text := make([]byte, len(left))
		_, err := f.ReadAt(text, 0)
		_, gone := os.Stat("/data/removed")
		return errors.Join(err, differs(string(text), left), differs(os.IsNotExist(gone), true))
	}, errors.Join(err, os.Remove("/data/removed"))
}

func flock() (func() error, error) {
	f, err := os.Create("/data/flocked")
	if err != nil {
		return nil, err
	}
	return func() error {
		runtime.KeepAlive(f)
		again, err := os.Open("/data/flocked")
		if err != nil {
			return err
		}
		defer again.Close()
		return differs(unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	}, unix.Flock(int(f.Fd()), unix.LOCK_EX)
}

func recordLock(how, owner int) (func() error, error) {
	name := fmt.Sprintf("/data/locked%d", how)
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	// A record lock ends when its process closes any descriptor of the file.
	again, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return func() error {
		runtime.KeepAlive(f)
		l := unix.Flock_t{Type: unix.F_WRLCK, Start: 5, Len: 1}
		err := unix.FcntlFlock(again.Fd(), unix.F_OFD_GETLK, &l)
		return errors.Join(err, differs([]int64{int64(l.Type), int64(l.Pid), l.Start, l.Len}, []int64{unix.F_WRLCK, int64(owner), 3, 7}))
	}, unix.FcntlFlock(f.Fd(), how, &unix.Flock_t{Type: unix.F_WRLCK, Start: 3, Len: 7})
}

// childState tells a child's letter of proc(5).
func childState(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	return strings.Fields(string(text))[2], nil
}

func inState(pid int, state string) func() error {
	return func() error {
		for range 100 {
			if now, err := childState(pid); err != nil || now == state {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
		return errors.New("it is not " + state)
	}
}

func stoppedChild() (func() error, error) {
	cmd, err := startedChild("idle", nil)
	if err != nil {
		return nil, err
	}
	stopped := inState(cmd.Process.Pid, "T")
	return stopped, errors.Join(cmd.Process.Signal(unix.SIGSTOP), stopped())
}

func zombie() (func() error, error) {
	cmd, err := startedChild("nothing that it knows", nil)
	if err != nil {
		return nil, err
	}
	dead := inState(cmd.Process.Pid, "Z")
	return dead, dead()
}

// attributes are those of the process as a whole.
func attributes() (func() error, error) {
	now := func() string {
		var files unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
		mask := unix.Umask(0)
		unix.Umask(mask)
		dir, _ := os.Getwd()
		session, _ := unix.Getsid(0)
		group, _ := unix.Getpgid(0)
		return fmt.Sprint(files, mask, dir, session, group, os.Getpid(), os.Environ(), os.Args)
	}
	err := errors.Join(os.Mkdir("/data/dir", 0o700), os.Chdir("/data/dir"), unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 700, Max: 800}))
	unix.Umask(0o27)
	before := now()
	return func() error { return differs(now(), before) }, err
}
