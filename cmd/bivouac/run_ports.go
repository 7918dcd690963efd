package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// portFlags are the flags of run about published ports.
type portFlags struct {
	publish    []string
	publishAll bool
}

func (f *portFlags) register(s *pflag.FlagSet) {
	s.StringArrayVarP(&f.publish, "publish", "p", nil, "publish a `PORT`, as [IP:][HOSTPORT:]PORT[/tcp|udp] (default IP 127.0.0.1, default HOSTPORT a free one)")
	s.BoolVarP(&f.publishAll, "publish-all", "P", false, "publish every port that the image exposes on a free port of 127.0.0.1, and print them")
}

func (f *portFlags) setPorts(s *sandbox.Spec) error {
	s.PublishAll = f.publishAll
	for _, text := range f.publish {
		mappings, err := parsePublish(text)
		if err != nil {
			return fmt.Errorf("--publish %q: %w", text, err)
		}
		s.Publish = append(s.Publish, mappings...)
	}
	return nil
}

// parsePublish reads Docker's form: ports may be ranges of the same length, or the host's a range to choose one from.
func parsePublish(text string) ([]sandbox.PortMapping, error) {
	parsed, err := nat.ParsePortSpec(text)
	if err != nil {
		return nil, err
	}
	var mappings []sandbox.PortMapping
	for _, p := range parsed {
		m := sandbox.PortMapping{HostIP: p.Binding.HostIP, Port: uint16(p.Port.Int()), Protocol: p.Port.Proto()}
		if m.Port == 0 {
			return nil, fmt.Errorf("needs a port from 1 to 65535")
		}
		if m.Protocol != "tcp" && m.Protocol != "udp" {
			return nil, fmt.Errorf("knows tcp and udp, not %s", m.Protocol)
		}
		first, last, _ := strings.Cut(p.Binding.HostPort, "-")
		if m.HostPort, err = hostPort(first); err != nil {
			return nil, err
		}
		if m.HostPortLast, err = hostPort(last); err != nil {
			return nil, err
		}
		mappings = append(mappings, m)
	}
	return mappings, nil
}

// hostPort reads a number; none is 0, a free port.
func hostPort(text string) (uint16, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("needs a port of the host up to 65535, not %q", text)
	}
	return uint16(n), nil
}

// tell prints where the ports are that were published by -P, which nobody knows otherwise.
func (f *portFlags) tell(w io.Writer, ports []sandbox.PortMapping) {
	if !f.publishAll {
		return
	}
	for _, p := range ports {
		fmt.Fprintf(w, "bivouac: port %d/%s is %s\n", p.Port, p.Protocol, p.HostAddress())
	}
}
