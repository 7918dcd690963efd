package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loopback are the addresses at which a server that listens on all addresses, or on localhost, is found.
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// DialFile connects to addr inside the namespace, by tcp or udp.
func (n *Namespace) DialFile(ctx context.Context, network string, addr netip.AddrPort) (*os.File, error) {
	kind, err := socketType(network)
	if err != nil {
		return nil, err
	}
	family, sockaddr := socketAddress(addr)
	fd, err := n.socket(family, kind)
	if err != nil {
		return nil, err
	}
	f, err := connect(ctx, fd, sockaddr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s inside the container: %w", addr, err)
	}
	return f, nil
}

// DialLocalFile is DialFile to whatever address of the namespace a server uses for the port.
func (n *Namespace) DialLocalFile(ctx context.Context, network string, port uint16) (*os.File, error) {
	f, err := n.DialFile(ctx, network, netip.AddrPortFrom(loopback[0], port))
	if err == nil || !refused(err) {
		return f, err
	}
	addr, found, findErr := n.Find(network, port)
	if findErr != nil || !found {
		return nil, err
	}
	return n.DialFile(ctx, network, netip.AddrPortFrom(addr, port))
}

// Dial is DialFile for use from Go.
func (n *Namespace) Dial(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error) {
	f, err := n.DialFile(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use socket: %w", err)
	}
	return c, nil
}

func socketType(network string) (int, error) {
	switch network {
	case "tcp":
		return unix.SOCK_STREAM, nil
	case "udp":
		return unix.SOCK_DGRAM, nil
	default:
		return 0, net.UnknownNetworkError(network)
	}
}

func socketAddress(a netip.AddrPort) (family int, sockaddr unix.Sockaddr) {
	if addr := a.Addr().Unmap(); addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: addr.As4(), Port: int(a.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// connect connects a socket and makes a file of it. The socket blocks, but not for longer than [patience]: over loopback
// the handshake is over when connect(2) returns, and Go's poller would have to be woken up to tell so.
func connect(ctx context.Context, fd int, addr unix.Sockaddr) (*os.File, error) {
	err := unix.Connect(fd, addr)
	if underWay(err) {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
		}
		return awaitConnection(ctx, os.NewFile(uintptr(fd), "socket"), addr)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

func underWay(err error) bool {
	return errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EALREADY) || errors.Is(err, unix.EINTR)
}

// awaitConnection waits for a server that is slow to accept, as long as ctx allows. It takes the file over.
func awaitConnection(ctx context.Context, f *os.File, addr unix.Sockaddr) (*os.File, error) {
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })()
	result := error(unix.EBADF)
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Write(func(fd uintptr) bool {
			result = unix.Connect(int(fd), addr)
			return !underWay(result)
		})
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil && !errors.Is(result, unix.EISCONN):
		err = os.NewSyscallError("connect", result)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
