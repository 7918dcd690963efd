package testkit

import "github.com/bivouac-run/bivouac/sandbox"

// Network sets what the program can reach: none, which is the default and means its own loopback alone, or host, the
// machine's network. A host's container has no ports of its own: what it listens on is the machine's.
func Network(network sandbox.Network) Option {
	return func(s *settings) { s.spec.Network = network }
}

// Publish makes TCP ports of the container reachable through free ports of 127.0.0.1, which [Container.Addr] tells. Ports
// that the image exposes, and those that [Ready] names, are published without it.
func Publish(ports ...int) Option {
	return func(s *settings) {
		for _, p := range ports {
			s.publish("Publish", p, "tcp")
		}
	}
}

// PublishUDP is [Publish] for UDP ports, whose addresses [Container.AddrUDP] tells.
func PublishUDP(ports ...int) Option {
	return func(s *settings) {
		for _, p := range ports {
			s.publish("PublishUDP", p, "udp")
		}
	}
}

// PublishAs publishes a port on an address and port of the host that are not free to choose. Tests that run in parallel
// get into each other's way with it.
func PublishAs(mapping sandbox.PortMapping) Option {
	return func(s *settings) { s.spec.Publish = append(s.spec.Publish, mapping) }
}

func (s *settings) publish(option string, port int, protocol string) {
	if port < 1 || port > 65535 {
		s.refuse("%s(%d): needs a port from 1 to 65535", option, port)
		return
	}
	s.spec.Publish = append(s.spec.Publish, sandbox.PortMapping{Port: uint16(port), Protocol: protocol})
}
