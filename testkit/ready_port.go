package testkit

import (
	"context"
	"fmt"
	"net"

	"github.com/bivouac-run/bivouac/sandbox"
)

// PortStrategy is reached when a port of the container is listened on.
type PortStrategy struct {
	port     int
	protocol string
	inside   bool
}

// Port is reached when something in the container listens on a TCP port, and a connection through the port's address on
// the host succeeds. The kernel tells when it is listened on: nothing connects before.
func Port(port int) PortStrategy { return PortStrategy{port: port, protocol: "tcp"} }

// UDPPort is reached when something in the container has bound a UDP port.
func UDPPort(port int) PortStrategy { return PortStrategy{port: port, protocol: "udp", inside: true} }

// Inside leaves out the connection from the host, for a program that minds a connection that says nothing.
func (p PortStrategy) Inside() PortStrategy {
	p.inside = true
	return p
}

// WaitReady implements [Strategy].
func (p PortStrategy) WaitReady(ctx context.Context, c *Container) error {
	if err := c.box.AwaitListening(ctx, p.protocol, uint16(p.port)); err != nil {
		if ctx.Err() != nil {
			return &seenError{fmt.Errorf("nothing listens on it%s", c.listeningText())}
		}
		return err
	}
	return nil
}

// String implements [Strategy].
func (p PortStrategy) String() string { return fmt.Sprintf("port %d/%s", p.port, p.protocol) }

func (p PortStrategy) traits() traits {
	t := portTraits(p.port, p.protocol)
	if !p.inside {
		t.outside = []int{p.port}
	}
	return t
}

// portTraits are those of a strategy that uses a port from inside of the container.
func portTraits(port int, protocol string) traits {
	t := traits{held: true}
	if port < 1 || port > 65535 {
		t.problem = fmt.Sprintf("%d is no port: needs one from 1 to 65535", port)
		return t
	}
	t.ports = []sandbox.PortMapping{{Port: uint16(port), Protocol: protocol}}
	return t
}

// outsidePort is reached when a port accepts a connection from the host.
type outsidePort int

// WaitReady implements [Strategy].
func (p outsidePort) WaitReady(ctx context.Context, c *Container) error {
	address, err := c.address(int(p), "tcp")
	if err != nil {
		return err
	}
	return pollAttempts(ctx, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// String implements [Strategy].
func (p outsidePort) String() string {
	return fmt.Sprintf("port %d/tcp to accept connections from the host", int(p))
}
