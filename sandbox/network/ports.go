package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Mapping is a port of the host and the port of the container that it stands for.
type Mapping struct {
	// Protocol is tcp or udp.
	Protocol string
	// Host is the address to bind; port 0 means a free one.
	Host netip.AddrPort
	// HostLast, if it is greater than Host's port, is the end of a range of which a free port is taken.
	HostLast uint16
	// Port is the container's.
	Port uint16
}

// Ports are the published ports of one container. They belong to the host, so they stay the same while the container's
// program comes and goes. Its methods are safe for concurrent use.
//
// A connection is accepted at once. Until the program listens, or with hold until [Ports.Open], it waits; from then on
// what the program does with connections shows outside: a refusal becomes a reset. Between the end of a program and
// [Ports.Expect] connections are reset.
type Ports struct {
	hold     bool
	mappings []Mapping
	closers  []func() error

	mu      sync.Mutex
	turn    *turn // of the program that runs, or is awaited
	closing bool
}

// turn is the time from the expectation of a program to its end.
type turn struct {
	ctx      context.Context // ends with the program
	end      context.CancelFunc
	attached chan struct{} // closed once ns is there
	ns       *Namespace
	opened   chan struct{} // closed by Open, or from the start without hold
	open     sync.Once
}

// Bind binds ports of the host. With hold, connections wait for [Ports.Open].
//
// Errors: those of bind(2), wrapped, such as EADDRINUSE, EACCES and EADDRNOTAVAIL.
func Bind(mappings []Mapping, hold bool) (*Ports, error) {
	p := &Ports{hold: hold}
	p.turn = p.newTurn()
	for _, m := range mappings {
		if err := p.bind(m); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// Bound returns the mappings, in the order of Bind, with the ports that were taken.
func (p *Ports) Bound() []Mapping { return p.mappings }

func (p *Ports) bind(m Mapping) (err error) {
	for port := uint32(m.Host.Port()); ; port++ {
		at := m
		at.Host, at.HostLast = netip.AddrPortFrom(m.Host.Addr(), uint16(port)), 0
		if err = p.listen(at); err == nil || port >= uint32(m.HostLast) {
			return err
		}
	}
}

// listen binds one port. The kernel chooses where its number is 0.
func (p *Ports) listen(m Mapping) error {
	listen := p.listenTCP
	if m.Protocol == "udp" {
		listen = p.listenUDP
	}
	bound, err := listen(m)
	if err != nil {
		return fmt.Errorf("publish port %d/%s: %w", m.Port, m.Protocol, err)
	}
	m.Host = bound
	p.mappings = append(p.mappings, m)
	return nil
}

// family returns the network's name for addresses of one family: a published :: does not include 0.0.0.0.
func family(protocol string, addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return protocol + "4"
	}
	return protocol + "6"
}

func (p *Ports) newTurn() *turn {
	t := &turn{attached: make(chan struct{}), opened: make(chan struct{})}
	t.ctx, t.end = context.WithCancel(context.Background())
	if !p.hold {
		t.openAll()
	}
	return t
}

func (t *turn) openAll() { t.open.Do(func() { close(t.opened) }) }

// Expect has connections wait again, for a program that is about to be started. It changes nothing before the first one.
func (p *Ports) Expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn.ctx.Err() != nil && !p.closing {
		p.turn = p.newTurn()
	}
}

// Attach connects the ports with the network namespace of a program that has been started.
func (p *Ports) Attach(ns *Namespace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn.ns == nil {
		p.turn.ns = ns
		close(p.turn.attached)
	}
}

// Open lets connections through that wait because of hold. It is idempotent, and lasts until the program's end.
func (p *Ports) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn.openAll()
}

// Detach tells that the program has ended. What it has sent is still delivered; everything else is reset.
func (p *Ports) Detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn.end()
}

// Close gives the ports up. It is idempotent.
func (p *Ports) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	p.turn.end()
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c())
	}
	p.closers = nil
	return errors.Join(errs...)
}

// current returns the turn that runs, or nil between the end of a program and the next.
func (p *Ports) current() *turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn.ctx.Err() != nil {
		return nil
	}
	return p.turn
}

// lookAfter is how often a waiting connection is checked for whether its client still waits.
const lookAfter = time.Second

// await returns once c is closed. It fails when the program ends, and when gone tells that nobody waits any more.
func (t *turn) await(c <-chan struct{}, gone func() bool) error {
	tick := time.NewTicker(lookAfter)
	defer tick.Stop()
	for {
		select {
		case <-c:
			return nil
		case <-t.ctx.Done():
			return ErrEnded
		case <-tick.C:
			if gone() {
				return net.ErrClosed
			}
		}
	}
}

// target is the container's end of one published port during one turn: where the server listens, once it does.
type target struct {
	turn      *turn
	protocol  string
	port      uint16
	once      sync.Once
	reachable chan struct{} // closed once somebody listens, or nobody ever will
	mu        sync.Mutex
	addr      netip.Addr
}

// targets gives each turn its target.
type targets struct {
	ports    *Ports
	protocol string
	port     uint16
	mu       sync.Mutex
	last     *target
}

// current returns nil between the end of a program and the next.
func (s *targets) current() *target {
	t := s.ports.current()
	if t == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.last.turn != t {
		s.last = &target{turn: t, protocol: s.protocol, port: s.port, reachable: make(chan struct{}), addr: loopback[0]}
	}
	return s.last
}

// ready waits until connections are let through.
func (t *target) ready(hold bool, gone func() bool) error {
	for _, c := range []<-chan struct{}{t.turn.attached, t.turn.opened} {
		if err := t.turn.await(c, gone); err != nil {
			return err
		}
	}
	if hold {
		return nil // whether the server listens now shows
	}
	t.once.Do(func() { go t.watch() })
	return t.turn.await(t.reachable, gone)
}

// watch waits for the server to listen.
func (t *target) watch() {
	defer close(t.reachable)
	if addr, err := t.turn.ns.Await(t.turn.ctx, t.protocol, t.port); err == nil {
		t.setAddr(addr)
	}
}

func (t *target) setAddr(addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addr = addr
}

func (t *target) address() netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	return netip.AddrPortFrom(t.addr, t.port)
}

// dial connects to where the server was last seen, or where it is.
func (t *target) dial() (net.Conn, error) {
	c, err := t.turn.ns.Dial(t.turn.ctx, t.protocol, t.address())
	if err == nil || !refused(err) {
		return c, err
	}
	addr, found, findErr := t.turn.ns.Find(t.protocol, t.port)
	if findErr != nil || !found {
		return nil, err
	}
	t.setAddr(addr)
	return t.turn.ns.Dial(t.turn.ctx, t.protocol, t.address())
}

func (m Mapping) hostAddress() string {
	return net.JoinHostPort(m.Host.Addr().String(), strconv.Itoa(int(m.Host.Port())))
}
