package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/network"
)

// bindPorts takes the ports of the host that are published, before there is a program to reach by them.
func (c *container) bindPorts() error {
	wanted, err := c.publishedPorts()
	if err != nil || len(wanted) == 0 {
		return err
	}
	if c.spec.Network == sandbox.NetworkHost {
		return sandbox.Errorf(sandbox.CodeInvalid, "publish port %d: with the host's network every port of the container is the host's own", wanted[0].Port).
			WithRemedy("publish no ports, or use another network")
	}
	mappings := make([]network.Mapping, len(wanted))
	for i, w := range wanted {
		if mappings[i], err = mapping(w); err != nil {
			return err
		}
	}
	ports, err := network.Bind(mappings, c.spec.HoldPorts)
	if err != nil {
		return bindError(err)
	}
	c.ports.Store(ports)
	return nil
}

// exposed are the ports that the image says it serves, and those that were added to them.
func (c *container) exposed() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(c.spec.Expose), maps.Keys(c.image.Config.Config.ExposedPorts)))))
}

// publishedPorts are those asked for, and with PublishAll those that are exposed besides.
func (c *container) publishedPorts() ([]sandbox.PortMapping, error) {
	wanted := slices.Clone(c.spec.Publish)
	if !c.spec.PublishAll {
		return wanted, nil
	}
	for _, text := range c.exposed() {
		exposed, err := exposedPorts(text)
		if err != nil {
			return nil, err
		}
		for _, p := range exposed {
			if !slices.ContainsFunc(wanted, func(w sandbox.PortMapping) bool { return w.Port == p.Port && protocolOf(w) == p.Protocol }) {
				wanted = append(wanted, p)
			}
		}
	}
	return wanted, nil
}

// exposedPorts reads PORT[-LAST][/PROTOCOL] as images have it (image-spec, config.md). The field's other protocol, sctp,
// cannot be published.
func exposedPorts(text string) ([]sandbox.PortMapping, error) {
	ports, protocol, _ := strings.Cut(strings.ToLower(text), "/")
	from, to, ranged := strings.Cut(ports, "-")
	if !ranged {
		to = from
	}
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	protocol = firstOf(protocol, "tcp")
	if err1 != nil || err2 != nil || first == 0 || last < first || protocol != "tcp" && protocol != "udp" {
		return nil, sandbox.Errorf(sandbox.CodeBadImage, "publish all exposed ports: the image exposes %q, which is no tcp or udp port", text).
			WithRemedy("publish the ports that you need one by one")
	}
	var list []sandbox.PortMapping
	for port := first; port <= last; port++ {
		list = append(list, sandbox.PortMapping{Port: uint16(port), Protocol: protocol})
	}
	return list, nil
}

func protocolOf(m sandbox.PortMapping) string { return firstOf(m.Protocol, "tcp") }

// mapping translates what was asked for.
func mapping(m sandbox.PortMapping) (network.Mapping, error) {
	out := network.Mapping{Protocol: protocolOf(m), HostLast: m.HostPortLast, Port: m.Port}
	if out.Protocol != "tcp" && out.Protocol != "udp" {
		return out, sandbox.Errorf(sandbox.CodeInvalid, "publish port %d/%s: no such protocol", m.Port, m.Protocol).WithRemedy("use tcp or udp")
	}
	if m.Port == 0 || m.HostPortLast != 0 && (m.HostPort == 0 || m.HostPortLast < m.HostPort) {
		return out, sandbox.Errorf(sandbox.CodeInvalid, "publish port %d at %d to %d: no such port or range", m.Port, m.HostPort, m.HostPortLast).
			WithRemedy("use ports from 1 to 65535")
	}
	ip, err := netip.ParseAddr(firstOf(m.HostIP, "127.0.0.1"))
	if err != nil {
		return out, sandbox.Errorf(sandbox.CodeInvalid, "publish port %d: %q is no IP address", m.Port, m.HostIP).WithRemedy("give one such as 127.0.0.1 or ::1")
	}
	out.Host = netip.AddrPortFrom(ip, m.HostPort)
	return out, nil
}

// bindError says what mends a port that cannot be had.
func bindError(err error) error {
	e := sandbox.Errorf(sandbox.CodePort, "%v", err)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return e.WithRemedy("choose another port, or none for a free one")
	case errors.Is(err, unix.EACCES):
		return e.WithRemedy("choose a port from %s on", firstUnprivilegedPort())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return e.WithRemedy("choose an address that this machine has, see: ip address")
	case errors.Is(err, unix.EMFILE):
		return e.WithRemedy("publish fewer ports, or raise your limit of open files")
	default:
		return e
	}
}

func firstUnprivilegedPort() string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return "1024"
	}
	return strings.TrimSpace(string(text))
}

// boundPorts tells which ports of the host are taken.
func (c *container) boundPorts() []sandbox.PortMapping {
	ports := c.ports.Load()
	if ports == nil {
		return nil
	}
	var list []sandbox.PortMapping
	for _, m := range ports.Bound() {
		list = append(list, sandbox.PortMapping{HostIP: m.Host.Addr().String(), HostPort: m.Host.Port(), Port: m.Port, Protocol: m.Protocol})
	}
	return list
}

// expectProgram has connections to published ports wait for the program that is about to be started.
func (c *container) expectProgram() {
	if ports := c.ports.Load(); ports != nil {
		ports.Expect()
	}
}

// connectPorts lets connections to published ports through to a program that has been started.
func (c *container) connectPorts(p *program) error {
	ports := c.ports.Load()
	if ports == nil {
		return nil
	}
	ns, err := c.namespace(p)
	switch {
	case sandbox.CodeOf(err) == sandbox.CodeAlreadyFinished:
		return nil // it was quicker, and needs no ports any more
	case err != nil:
		return err
	}
	ports.Attach(ns)
	return nil
}

// leaveNetwork ends what is connected with the program, which has ended.
func (c *container) leaveNetwork(p *program) {
	c.disconnectPorts()
	p.net.close()
}

// disconnectPorts resets connections to published ports until the next start.
func (c *container) disconnectPorts() {
	if ports := c.ports.Load(); ports != nil {
		ports.Detach()
	}
}

// releasePorts gives the ports up.
func (c *container) releasePorts() error {
	ports := c.ports.Swap(nil)
	if ports == nil {
		return nil
	}
	if err := ports.Close(); err != nil {
		return fmt.Errorf("give up published ports: %w", err)
	}
	return nil
}

func (c *container) openPorts(context.Context, sandbox.OpenPortsRequest) (any, error) {
	if c.isDiscarding() {
		return nil, c.gone("open the ports of")
	}
	if ports := c.ports.Load(); ports != nil {
		ports.Open()
	}
	return nil, nil
}

// programNetwork is a program's network namespace, entered at its first use.
type programNetwork struct {
	mu     sync.Mutex
	ns     *network.Namespace
	closed bool
}

func (n *programNetwork) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.ns != nil {
		n.ns.Close()
	}
}

// namespace returns the network namespace of a program.
//
// Errors: CodeAlreadyFinished once it has ended.
func (c *container) namespace(p *program) (*network.Namespace, error) {
	n := &p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, c.ended("reach")
	}
	if n.ns != nil {
		return n.ns, nil
	}
	ns, err := c.enterNetwork(p)
	if err != nil {
		return nil, err
	}
	n.ns = ns
	return ns, nil
}

func (c *container) enterNetwork(p *program) (*network.Namespace, error) {
	if c.spec.Network == sandbox.NetworkHost {
		return network.Host(), nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.pid))
	if errors.Is(err, os.ErrNotExist) {
		return nil, c.ended("reach")
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	if p.hasEnded() { // its number may be another's
		return nil, c.ended("reach")
	}
	return network.Enter(f)
}

func (c *container) ended(doing string) error {
	return sandbox.Errorf(sandbox.CodeAlreadyFinished, "%s container %s: its program has ended", doing, c.displayName())
}

// networkError gives the failures that callers tell apart their codes.
func (c *container) networkError(doing string, err error) error {
	coded := (*sandbox.Error)(nil)
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(err, network.ErrEnded):
		return c.ended(doing)
	case errors.Is(err, unix.ECONNREFUSED):
		return sandbox.Errorf(sandbox.CodeRefused, "%s container %s: %v", doing, c.displayName(), err).WithRemedy("wait until the program listens")
	case errors.Is(err, errors.ErrUnsupported):
		return sandbox.Errorf(sandbox.CodeUnsupported, "%s container %s: %v", doing, c.displayName(), err).WithRemedy("use a kernel with CONFIG_INET_DIAG and CONFIG_UNIX_DIAG")
	default:
		return fmt.Errorf("%s container %s: %w", doing, c.displayName(), err)
	}
}
