package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

func (p *Ports) listenTCP(m Mapping) (netip.AddrPort, error) {
	l, err := (&net.ListenConfig{KeepAlive: keepAlive(m.Host.Addr())}).Listen(context.Background(), family("tcp", m.Host.Addr()), m.hostAddress())
	if err != nil {
		return netip.AddrPort{}, err
	}
	p.closers = append(p.closers, l.Close)
	f := &tcpForward{targets: targets{ports: p, protocol: "tcp", port: m.Port}, listener: l.(*net.TCPListener)}
	go f.accept()
	return f.listener.Addr().(*net.TCPAddr).AddrPort(), nil
}

// keepAlive is Go's default for clients from elsewhere; who is on this machine cannot vanish unnoticed.
func keepAlive(host netip.Addr) time.Duration {
	if host.IsLoopback() {
		return -1
	}
	return 0
}

// tcpForward is one published TCP port.
type tcpForward struct {
	targets
	listener *net.TCPListener
}

// acceptPause is how long accepting rests where it fails, mostly because of too many open files.
const acceptPause = 50 * time.Millisecond

func (f *tcpForward) accept() {
	for {
		c, err := f.listener.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(acceptPause)
		default:
			go f.serve(c)
		}
	}
}

// serve connects a client with the container. A client that cannot be is reset.
func (f *tcpForward) serve(client *net.TCPConn) {
	defer finish(client)
	t := f.current()
	if t == nil || t.ready(f.ports.hold, func() bool { return clientGone(client) }) != nil {
		reset(client)
		return
	}
	c, err := t.dial()
	if err != nil {
		reset(client)
		return
	}
	server := c.(*net.TCPConn)
	defer finish(server)
	calm(client)
	relay(t.turn.ctx, client, server)
}

// clientGone tells whether a client has given up before it said anything.
func clientGone(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		gone = err == nil && n == 0 || err != nil && !errors.Is(err, unix.EAGAIN)
	})
	return gone || err != nil
}

// finish closes a connection that may be closed already.
func finish(c *net.TCPConn) { _ = c.Close() }

// reset closes a connection so that its peer gets an error instead of an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only on what is closed
	finish(c)
}

// drain is how long a client may take to fetch what an ended program had sent.
const drain = 2 * time.Second

// relay passes bytes and ends on in both directions until both have ended, one has failed, or ctx ends. Then what the
// server has sent is still delivered.
func relay(ctx context.Context, client, server *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() {
		_ = client.SetReadDeadline(time.Unix(1, 0)) // nobody is there to get it
		time.AfterFunc(drain, func() { reset(client); reset(server) })
	})
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(server, client)
	}()
	pass(client, server)
	<-done
}

// pass copies until src ends, and ends dst the same way.
func pass(dst, src *net.TCPConn) {
	err := stream(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	var timeout net.Error
	switch {
	case err == nil || errors.Is(err, unix.ENOTCONN): // the other side was quicker
	case errors.As(err, &timeout) && timeout.Timeout():
		_ = dst.CloseWrite()
	default:
		reset(dst)
		reset(src)
	}
}
