package network

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Listener is a socket that waits for connections or datagrams.
type Listener struct {
	// Protocol is tcp, udp or unix.
	Protocol string
	// Addr is unset for unix.
	Addr netip.AddrPort
	// Path of a unix socket; an abstract one begins with @. Its directory is the program's view.
	Path string
	// Inode is the socket's, as /proc/PID/fd shows it.
	Inode uint64
}

// Listeners returns who listens in the namespace, in the order of protocol, port and address. UDP sockets count unless
// they are connected, unix sockets if they have a name.
//
// Errors: one that wraps errors.ErrUnsupported where the kernel cannot list sockets.
func (n *Namespace) Listeners() ([]Listener, error) {
	var all []Listener
	for _, list := range []func() ([]Listener, error){n.tcpListeners, n.udpListeners, n.unixListeners} {
		some, err := list()
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortStableFunc(all, compareListeners)
	return all, nil
}

func compareListeners(a, b Listener) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Compare(b.Addr), cmp.Compare(a.Path, b.Path))
}

func (n *Namespace) tcpListeners() ([]Listener, error) { return n.listInet("tcp") }
func (n *Namespace) udpListeners() ([]Listener, error) { return n.listInet("udp") }

// Find returns an address of the namespace at which somebody listens on the port, one of loopback if there is one.
func (n *Namespace) Find(protocol string, port uint16) (netip.Addr, bool, error) {
	if addr, ok, err := n.findOnLoopback(protocol, port); ok || err != nil {
		return addr, ok, err
	}
	all, err := n.listInet(protocol)
	if err != nil {
		return netip.Addr{}, false, err
	}
	for _, l := range all {
		if l.Addr.Port() == port {
			return reachableAt(l.Addr.Addr()), true, nil
		}
	}
	return netip.Addr{}, false, nil
}

// reachableAt returns where to connect for a server that listens at addr.
func reachableAt(addr netip.Addr) netip.Addr {
	switch {
	case !addr.IsUnspecified():
		return addr
	case addr.Is4():
		return loopback[0]
	default:
		return loopback[1]
	}
}

// findOnLoopback is as quick as the kernel's own search for the receiver of a packet, however many sockets there are.
func (n *Namespace) findOnLoopback(protocol string, port uint16) (netip.Addr, bool, error) {
	for _, addr := range loopback {
		found, err := n.accepts(protocol, netip.AddrPortFrom(addr, port))
		if found || err != nil {
			return addr, found, err
		}
	}
	return netip.Addr{}, false, nil
}

// The kernel tells nobody when a program begins to listen, so it is asked again and again. Sockets at unusual addresses
// are looked for only each thoroughly-th time, because that takes a list of all sockets.
const (
	firstPause = time.Millisecond
	lastPause  = 20 * time.Millisecond
	thoroughly = 8
)

// Await returns the address at which somebody listens on the port once somebody does. It gives up with ErrEnded when the
// namespace is closed.
func (n *Namespace) Await(ctx context.Context, protocol string, port uint16) (netip.Addr, error) {
	var addr netip.Addr
	asked := 0
	err := Poll(ctx, n.ended, func() (found bool, err error) {
		find := n.findOnLoopback
		if asked++; asked%thoroughly == 0 {
			find = n.Find
		}
		addr, found, err = find(protocol, port)
		return found, err
	})
	return addr, err
}

// Poll asks until the answer is yes: at once, then after 1 ms, then ever more seldom, up to 20 ms. It gives up with ErrEnded
// when ended is closed, and with the cause of ctx's end.
func Poll(ctx context.Context, ended <-chan struct{}, ask func() (bool, error)) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for wait := firstPause; ; wait = min(wait*5/4, lastPause) {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ended:
			return ErrEnded
		}
	}
}

// socketID is struct inet_diag_sockid of linux/inet_diag.h. Ports are in network order.
type socketID struct {
	SourcePort, DestinationPort [2]byte
	Source, Destination         [16]byte
	Interface                   uint32
	Cookie                      [2]uint32
}

// inetRequest is struct inet_diag_req_v2.
type inetRequest struct {
	Family, Protocol, Extensions, Pad uint8
	States                            uint32
	ID                                socketID
}

// Len is for netlink's sake.
func (r *inetRequest) Len() int { return binary.Size(r) }

// Serialize is for netlink's sake.
func (r *inetRequest) Serialize() []byte { return serialized(r) }

// serialized returns a structure of fixed sizes as the kernel reads it.
func serialized(r any) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.NativeEndian, r) // fixed sizes into memory cannot fail
	return b.Bytes()
}

// inetMessage is struct inet_diag_msg.
type inetMessage struct {
	Family, State, Timer, Retransmits  uint8
	ID                                 socketID
	Expires, Receiving, Sending, Owner uint32
	Inode                              uint32
}

func parseInetMessage(protocol string, b []byte) (Listener, error) {
	var m inetMessage
	if _, err := binary.Decode(b, binary.NativeEndian, &m); err != nil {
		return Listener{}, fmt.Errorf("parse sock_diag message of %d bytes: %w", len(b), err)
	}
	addr := netip.AddrFrom16(m.ID.Source)
	if m.Family == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(m.ID.Source[:4]))
	}
	port := binary.BigEndian.Uint16(m.ID.SourcePort[:])
	return Listener{Protocol: protocol, Addr: netip.AddrPortFrom(addr, port), Inode: uint64(m.Inode)}, nil
}

// The states of a socket that waits: include/net/tcp_states.h. UDP knows only connected and not.
const (
	tcpListen   = 10
	unconnected = 7
)

func inetQuery(family uint8, protocol string) *inetRequest {
	r := &inetRequest{Family: family, Protocol: unix.IPPROTO_TCP, States: 1 << tcpListen}
	if protocol == "udp" {
		r.Protocol, r.States = unix.IPPROTO_UDP, 1<<unconnected
	}
	r.ID.Cookie = [2]uint32{nl.TCPDIAG_NOCOOKIE, nl.TCPDIAG_NOCOOKIE}
	return r
}

func (n *Namespace) listInet(protocol string) ([]Listener, error) {
	var all []Listener
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		messages, err := n.diagnose(inetQuery(family, protocol), unix.NLM_F_DUMP)
		if err != nil {
			return nil, listError(protocol, err)
		}
		for _, m := range messages {
			l, err := parseInetMessage(protocol, m)
			if err != nil {
				return nil, err
			}
			all = append(all, l)
		}
	}
	return all, nil
}

// listError tells of a kernel without the module that lists a protocol's sockets.
func listError(protocol string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("list %s sockets: the kernel lacks sock_diag for them (%w): %w", protocol, err, errors.ErrUnsupported)
	}
	return fmt.Errorf("list %s sockets: %w", protocol, err)
}

// accepts tells whether somebody would get a packet to addr.
func (n *Namespace) accepts(protocol string, addr netip.AddrPort) (bool, error) {
	r := inetQuery(unix.AF_INET6, protocol)
	if addr.Addr().Is4() {
		r.Family = unix.AF_INET
	}
	r.ID.Source, r.ID.Destination = wireAddress(addr.Addr()), wireAddress(addr.Addr())
	here, there := &r.ID.SourcePort, &r.ID.DestinationPort
	if protocol == "udp" { // the kernel has the two the other way round (udp_dump_one)
		here, there = there, here
	}
	binary.BigEndian.PutUint16(here[:], addr.Port())
	binary.BigEndian.PutUint16(there[:], 1) // a port that nobody connects from
	messages, err := n.diagnose(r, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, listError(protocol, err)
	default:
		return len(messages) > 0 && (protocol == "udp" || listens(messages[0])), nil
	}
}

// listens tells a listening TCP socket from the remains of a connection that used the port.
func listens(message []byte) bool { return len(message) > 1 && message[1] == tcpListen }

func wireAddress(a netip.Addr) (out [16]byte) {
	copy(out[:], a.AsSlice())
	return out
}

// diagnose asks the kernel about sockets of the namespace.
func (n *Namespace) diagnose(query nl.NetlinkRequestData, flags int) ([][]byte, error) {
	n.diagnosing.Lock()
	defer n.diagnosing.Unlock()
	if err := n.openDiagnoser(); err != nil {
		return nil, err
	}
	for {
		r := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, flags)
		r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: n.diagnoser}
		r.AddData(query)
		messages, err := r.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
		if !errors.Is(err, netlink.ErrDumpInterrupted) { // sockets came and went meanwhile
			return messages, err
		}
	}
}

// openDiagnoser makes the netlink socket, which belongs to the namespace that it was made in.
func (n *Namespace) openDiagnoser() error {
	select {
	case <-n.ended:
		return ErrEnded
	default:
	}
	if n.diagnoser != nil {
		return nil
	}
	return n.do(func() error {
		s, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
		if err != nil {
			return fmt.Errorf("open sock_diag socket: %w", err)
		}
		n.diagnoser = &nl.SocketHandle{Socket: s}
		return nil
	})
}
