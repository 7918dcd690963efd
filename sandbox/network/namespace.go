package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrEnded tells that a [Namespace] was closed, or is about to be.
var ErrEnded = net.ErrClosed

// Namespace is a network namespace in which sockets can be made. Its methods are safe for concurrent use.
//
// A thread that enters a container's network namespace can never return, because nobody here may enter the host's. So
// each Namespace has a thread of its own that does nothing but make sockets; they are used on any thread.
type Namespace struct {
	jobs   chan func()   // nil for the host's namespace, where every thread is
	ended  chan struct{} // closed by Close
	once   sync.Once
	spares chan int // sockets for TCP over IPv4, made ahead of need

	diagnosing sync.Mutex
	diagnoser  *nl.SocketHandle
}

// Host returns the namespace that this process is in.
func Host() *Namespace { return &Namespace{ended: make(chan struct{})} }

// Enter returns the namespace that an open file of /proc/PID/ns/net stands for. The file stays the caller's.
func Enter(ns *os.File) (*Namespace, error) {
	n := &Namespace{jobs: make(chan func()), ended: make(chan struct{}), spares: make(chan int, spareSockets)}
	entered := make(chan error)
	go n.work(int(ns.Fd()), entered)
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	return n, nil
}

// work is the thread in the namespace. It never unlocks, so the thread ends with it.
func (n *Namespace) work(ns int, entered chan<- error) {
	runtime.LockOSThread()
	err := unix.Setns(ns, unix.CLONE_NEWNET)
	if err == nil {
		tuneLoopback()
	}
	entered <- err
	if err != nil {
		return
	}
	for {
		select {
		case job := <-n.jobs:
			job()
		case <-n.ended:
			n.dropSpares()
			return
		}
	}
}

// congestionControl is what connections over loopback use: the kernel's oldest, which is always there. Loopback loses
// nothing and has no bottleneck, so there is nothing to probe for. BBR, which many machines have as their default, paces
// what it sends and so halves the throughput.
const congestionControl = "reno"

// largeSegments is how many bytes loopback passes on at once where the kernel can (IPv4 "BIG TCP", Linux 6.3) instead of
// 64 KiB: the largest that loopback takes. Fewer pieces mean fewer times that the other end is woken up.
const largeSegments = 512<<10 - 8

// loopbackIndex is that of lo in every network namespace.
const loopbackIndex = 1

// tuneLoopback makes connections within the namespace that the thread is in quick. A kernel that refuses is slower.
func tuneLoopback() {
	_ = os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte(congestionControl), 0)
	_ = netlink.LinkSetGSOIPv4MaxSize(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loopbackIndex}}, largeSegments)
}

// Close ends the namespace's thread. Sockets that were made in it stay, and keep the kernel's namespace alive. It is
// idempotent.
func (n *Namespace) Close() {
	n.once.Do(func() {
		close(n.ended)
		n.diagnosing.Lock()
		defer n.diagnosing.Unlock()
		if n.diagnoser != nil {
			n.diagnoser.Socket.Close()
		}
	})
}

// Ended is closed when the namespace is.
func (n *Namespace) Ended() <-chan struct{} { return n.ended }

// do calls f on a thread that is in the namespace.
func (n *Namespace) do(f func() error) error {
	if n.jobs == nil {
		return f()
	}
	result := make(chan error, 1)
	select {
	case n.jobs <- func() { result <- f() }:
		return <-result
	case <-n.ended:
		return ErrEnded
	}
}

// socket makes a socket; see [connect] for how it blocks.
func (n *Namespace) socket(family, kind int) (fd int, err error) {
	if n.jobs != nil && family == unix.AF_INET && kind == unix.SOCK_STREAM {
		return n.takeSpare()
	}
	err = n.do(func() (err error) {
		fd, err = newSocket(family, kind)
		return err
	})
	return fd, err
}

func newSocket(family, kind int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience); err != nil {
		return -1, errors.Join(os.NewSyscallError("setsockopt", err), unix.Close(fd))
	}
	return fd, nil
}

// patience is how long a connect(2) may block a thread.
var patience = unix.NsecToTimeval(int64(50 * time.Millisecond))

// spareSockets is how many sockets are made at once: waking the thread up takes longer than to make them.
const spareSockets = 8

func (n *Namespace) takeSpare() (fd int, err error) {
	select {
	case fd := <-n.spares:
		return fd, nil
	default:
	}
	err = n.do(func() (err error) {
		if fd, err = newSocket(unix.AF_INET, unix.SOCK_STREAM); err == nil {
			n.addSpares()
		}
		return err
	})
	return fd, err
}

func (n *Namespace) addSpares() {
	for len(n.spares) < cap(n.spares) {
		fd, err := newSocket(unix.AF_INET, unix.SOCK_STREAM)
		if err != nil {
			return // without a spare the next one says what is wrong
		}
		n.spares <- fd // never blocks: this thread alone adds
	}
}

func (n *Namespace) dropSpares() {
	for {
		select {
		case fd := <-n.spares:
			_ = unix.Close(fd)
		default:
			return
		}
	}
}

// calm sets a connection's congestion control; see [congestionControl].
func calm(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // it is closed, which the next call finds too
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestionControl)
	})
}

// refused tells whether nobody listens at an address.
func refused(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)
}
