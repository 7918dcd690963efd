package network

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// A flow is what one client sends and gets. It ends when nothing was sent for idle: the time that Linux's connection
// tracking and Docker's proxy use too, or about so.
const (
	idle     = 90 * time.Second
	queued   = 64 // datagrams that wait for the server; more are lost, as datagrams may be
	maxFlows = 1024
	maxUDP   = 65535
)

func (p *Ports) listenUDP(m Mapping) (netip.AddrPort, error) {
	c, err := net.ListenPacket(family("udp", m.Host.Addr()), m.hostAddress())
	if err != nil {
		return netip.AddrPort{}, err
	}
	p.closers = append(p.closers, c.Close)
	f := &udpForward{
		targets: targets{ports: p, protocol: "udp", port: m.Port}, conn: c.(*net.UDPConn), flows: map[netip.AddrPort]*flow{},
		v4: m.Host.Addr().Unmap().Is4(),
	}
	if m.Host.Addr().IsUnspecified() {
		if err := f.noteDestinations(); err != nil {
			return netip.AddrPort{}, err
		}
	}
	go f.receive()
	return f.conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

// udpForward is one published UDP port.
type udpForward struct {
	targets
	conn *net.UDPConn
	v4   bool

	mu    sync.Mutex
	flows map[netip.AddrPort]*flow
}

// flow is one client's exchange with the server.
type flow struct {
	forward *udpForward
	client  netip.AddrPort
	source  []byte // control message that makes answers come from the address that the client wrote to
	packets chan []byte
	used    atomic.Int64 // when something was sent, in nanoseconds of Unix time
}

// noteDestinations has the kernel tell the address that each datagram was sent to.
func (f *udpForward) noteDestinations() error {
	if f.v4 {
		return ipv4.NewPacketConn(f.conn).SetControlMessage(ipv4.FlagDst, true)
	}
	return ipv6.NewPacketConn(f.conn).SetControlMessage(ipv6.FlagDst, true)
}

// source returns the control message for answers to a datagram that came with oob.
func (f *udpForward) source(oob []byte) []byte {
	if f.v4 {
		var m ipv4.ControlMessage
		if len(oob) == 0 || m.Parse(oob) != nil {
			return nil
		}
		return (&ipv4.ControlMessage{Src: m.Dst}).Marshal()
	}
	var m ipv6.ControlMessage
	if len(oob) == 0 || m.Parse(oob) != nil {
		return nil
	}
	return (&ipv6.ControlMessage{Src: m.Dst, IfIndex: linkLocalIndex(&m)}).Marshal()
}

// linkLocalIndex keeps the interface where the address alone does not tell it.
func linkLocalIndex(m *ipv6.ControlMessage) int {
	if m.Dst.IsLinkLocalUnicast() {
		return m.IfIndex
	}
	return 0
}

func (f *udpForward) receive() {
	buf, oob := make([]byte, maxUDP), make([]byte, 128)
	for {
		n, oobn, _, client, err := f.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue // an earlier answer did not reach its client
		}
		f.deliver(client, append([]byte(nil), buf[:n]...), oob[:oobn])
	}
}

// deliver gives a datagram to its client's flow, which begins with it.
func (f *udpForward) deliver(client netip.AddrPort, packet, oob []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.flows[client]
	if l == nil {
		t := f.current()
		if t == nil || len(f.flows) >= maxFlows {
			return
		}
		l = &flow{forward: f, client: client, source: f.source(oob), packets: make(chan []byte, queued)}
		f.flows[client] = l
		go l.run(t)
	}
	select {
	case l.packets <- packet:
	default:
	}
}

func (f *udpForward) forget(l *flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flows, l.client)
}

// run serves the flow until it is idle or the program ends.
func (l *flow) run(t *target) {
	defer l.forward.forget(l)
	server, err := l.open(t)
	if err != nil {
		return
	}
	defer server.Close()
	go l.answers(server)
	for {
		select {
		case packet := <-l.packets:
			_, _ = server.Write(packet) // what cannot be sent is lost, as datagrams may be
			l.touch()
		case <-time.After(idle):
			if time.Since(time.Unix(0, l.used.Load())) >= idle {
				return
			}
		case <-t.turn.ctx.Done():
			return
		}
	}
}

func (l *flow) touch() { l.used.Store(time.Now().UnixNano()) }

// open makes the server's end once there is a server. Where it listens must be known before: nobody refuses a datagram.
func (l *flow) open(t *target) (net.Conn, error) {
	if err := t.ready(l.forward.ports.hold, func() bool { return false }); err != nil {
		return nil, err
	}
	if addr, found, err := t.turn.ns.Find(t.protocol, t.port); err == nil && found {
		t.setAddr(addr)
	}
	return t.dial()
}

// answers passes on what the server sends until its end is closed.
func (l *flow) answers(server net.Conn) {
	buf := make([]byte, maxUDP)
	for {
		n, err := server.Read(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue // nobody listened just then
		}
		l.touch()
		_, _, _ = l.forward.conn.WriteMsgUDPAddrPort(buf[:n], l.source, l.client)
	}
}

// isClosed tells the end of a socket, or of waiting for it, from errors that concern a datagram.
func isClosed(err error) bool {
	var errno unix.Errno
	return !errors.As(err, &errno)
}
