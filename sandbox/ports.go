package sandbox

import (
	"context"
	"net"
	"strconv"
)

// Address returns HOST:PORT of the host that reaches a port of the container. Protocol is tcp or udp; empty means tcp.
// The first of several mappings counts. It is false for a port that is not published.
func (i *Info) Address(protocol string, port uint16) (string, bool) {
	for _, p := range i.Ports {
		if p.Port == port && p.protocol() == (PortMapping{Protocol: protocol}).protocol() {
			return p.HostAddress(), true
		}
	}
	return "", false
}

// HostAddress returns the host's address and port as HOST:PORT.
func (p PortMapping) HostAddress() string {
	ip := p.HostIP
	if ip == "" {
		ip = "127.0.0.1"
	}
	return net.JoinHostPort(ip, strconv.Itoa(int(p.HostPort)))
}

func (p PortMapping) protocol() string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// OpenPorts lets connections to published ports through that wait because of Spec.HoldPorts. From then on a port where
// nothing listens refuses. It is idempotent and lasts until the program's end: after the next start connections wait
// again.
//
// Errors: CodeAlreadyFinished after Discard.
func (ct *Container) OpenPorts(ctx context.Context) error {
	return ct.client.ask(ctx, KindOpenPorts, OpenPortsRequest{ct.request()}, nil)
}
