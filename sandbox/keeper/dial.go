package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/network"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// dial answers with a socket that is connected with something in the container.
func (s *server) dial(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.DialRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Of())
	if err != nil {
		return outcome{err: err}
	}
	f, err := c.dial(ctx, r.Network, r.Address)
	if err != nil {
		return outcome{err: err}
	}
	return outcome{files: []*os.File{f}}
}

func (c *container) dial(ctx context.Context, kind, address string) (*os.File, error) {
	const doing = "dial in"
	p, err := c.running(doing)
	if err != nil {
		return nil, err
	}
	var f *os.File
	switch kind {
	case "tcp", "udp":
		f, err = c.dialInet(ctx, p, kind, address)
	case "unix":
		f, err = dialUnix(ctx, p.pid, address)
	default:
		err = sandbox.Errorf(sandbox.CodeInvalid, "dial %s %s: no such network", kind, address).WithRemedy("use tcp, udp or unix")
	}
	if err != nil {
		return nil, c.networkError(doing, err)
	}
	return f, nil
}

func (c *container) dialInet(ctx context.Context, p *program, kind, address string) (*os.File, error) {
	host, port, err := splitAddress(kind, address)
	if err != nil {
		return nil, err
	}
	ns, err := c.namespace(p)
	if err != nil {
		return nil, err
	}
	if !host.IsValid() {
		return ns.DialLocalFile(ctx, kind, port)
	}
	return ns.DialFile(ctx, kind, netip.AddrPortFrom(host, port))
}

// splitAddress reads IP:PORT. The IP is not valid if it was left out or is localhost.
func splitAddress(kind, address string) (netip.Addr, uint16, error) {
	host, number, err := net.SplitHostPort(address)
	port, err2 := strconv.ParseUint(number, 10, 16)
	if err != nil || err2 != nil || port == 0 {
		return netip.Addr{}, 0, badAddress(kind, address)
	}
	if host == "" || host == "localhost" {
		return netip.Addr{}, uint16(port), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, 0, badAddress(kind, address)
	}
	return ip, uint16(port), nil
}

func badAddress(kind, address string) error {
	return sandbox.Errorf(sandbox.CodeInvalid, "dial %s %q: not IP:PORT", kind, address).WithRemedy("give an address such as 127.0.0.1:80, or :80")
}

// dialUnix connects to a socket's path as the program sees it. Links lead nowhere outside of the container's root, and what
// is found is used by its handle.
func dialUnix(ctx context.Context, pid int, unsafePath string) (*os.File, error) {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, network.ErrEnded
	}
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	defer root.Close()
	socket, err := pathrs.OpenatInRoot(root, unsafePath)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeRefused, "dial unix %s: %v", unsafePath, err).WithRemedy("wait until the program listens there")
	}
	defer socket.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(socket.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", unsafePath, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, sandbox.Errorf(sandbox.CodeRefused, "dial unix %s: not a socket", unsafePath).WithRemedy("check the path")
	}
	return connectUnix(ctx, socket)
}

// backlogPause is how long to wait for a server whose queue of connections is full; unix sockets do not tell when it is not.
const backlogPause = 5 * time.Millisecond

func connectUnix(ctx context.Context, socket *os.File) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "unix")
	address := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", socket.Fd())}
	for {
		err := unix.Connect(fd, address)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EAGAIN) {
			f.Close()
			return nil, os.NewSyscallError("connect", err)
		}
		select {
		case <-time.After(backlogPause):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
