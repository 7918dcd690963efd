package testkit

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Addr returns the address, host:port, at which a TCP port of the container can be reached. It is known from the
// container's creation on and stays when it is restarted. A port that is not published fails the test; outside of tests
// the result is then an address that cannot be resolved and says why.
func (c *Container) Addr(port int) string { return c.addr(port, "tcp") }

// AddrUDP is [Container.Addr] for a UDP port.
func (c *Container) AddrUDP(port int) string { return c.addr(port, "udp") }

func (c *Container) addr(port int, protocol string) string {
	if c.tb != nil {
		c.tb.Helper()
	}
	address, err := c.address(port, protocol)
	if err == nil {
		return address
	}
	if c.tb != nil && c.use("") == nil {
		fail(c.tb, "testkit: "+err.Error())
	}
	return fmt.Sprintf("port-%d-%s-is-not-published.invalid:%d", port, protocol, port)
}

// HostPort returns the host and the port of [Container.Addr] as two.
//
// Errors: CodeInvalid when the port is not published.
func (c *Container) HostPort(port int) (host string, hostPort int, err error) {
	address, err := c.address(port, "tcp")
	if err != nil {
		return "", 0, err
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	hostPort, err = strconv.Atoi(text)
	return host, hostPort, err
}

func (c *Container) address(port int, protocol string) (string, error) {
	if c.settings.spec.Network == sandbox.NetworkHost {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
	}
	for _, p := range c.info.Ports {
		if int(p.Port) == port && protocolOf(p) == protocol {
			return net.JoinHostPort(reachable(p.HostIP), strconv.Itoa(int(p.HostPort))), nil
		}
	}
	return "", sandbox.Errorf(sandbox.CodeInvalid, "port %d/%s of %s is not published; %s", port, protocol, c, c.publishedText()).
		WithRemedy("the image does not expose it: name it with testkit.Publish or testkit.Ready(testkit.Port(%d))", port)
}

// reachable returns an address that reaches a listener on every address.
func reachable(ip string) string {
	switch ip {
	case "", "0.0.0.0":
		return "127.0.0.1"
	case "::":
		return "::1"
	}
	return ip
}

func (c *Container) publishedText() string {
	var all []string
	for _, p := range c.info.Ports {
		all = append(all, fmt.Sprintf("%d/%s", p.Port, protocolOf(p)))
	}
	if len(all) == 0 {
		return "no port is"
	}
	slices.Sort(all)
	return "published are " + strings.Join(slices.Compact(all), ", ")
}

// Dial connects to a port of the container from inside of it: also to one that is not published, or that listens on its
// loopback alone. The network is tcp or udp.
func (c *Container) Dial(ctx context.Context, network string, port int) (net.Conn, error) {
	return c.dial(ctx, network, inside(port))
}

// DialUnix connects to a unix socket at an absolute path of the container.
func (c *Container) DialUnix(ctx context.Context, path string) (net.Conn, error) {
	return c.dial(ctx, "unix", path)
}

func (c *Container) dial(ctx context.Context, network, address string) (net.Conn, error) {
	verb := "dial " + network + " " + address + " in"
	if err := c.use(verb); err != nil {
		return nil, err
	}
	conn, err := c.box.Dial(ctx, network, address)
	return conn, c.wrap(verb, err)
}
