package sandbox_test

import (
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestAddress(t *testing.T) {
	info := sandbox.Info{Ports: []sandbox.PortMapping{
		{HostIP: "::1", HostPort: 1053, Port: 53, Protocol: "udp"},
		{HostPort: 8080, Port: 80},
		{HostIP: "127.0.0.2", HostPort: 8081, Port: 80, Protocol: "tcp"},
	}}
	for _, c := range []struct {
		protocol string
		port     uint16
		want     string
	}{{"", 80, "127.0.0.1:8080"}, {"tcp", 80, "127.0.0.1:8080"}, {"udp", 53, "[::1]:1053"}, {"tcp", 53, ""}, {"udp", 80, ""}} {
		if got, ok := info.Address(c.protocol, c.port); got != c.want || ok != (c.want != "") {
			t.Errorf("%d/%s: got %q, %v; want %q", c.port, c.protocol, got, ok, c.want)
		}
	}
}
