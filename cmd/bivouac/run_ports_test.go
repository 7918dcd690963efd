package main

import (
	"bytes"
	"slices"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestParsePublish(t *testing.T) {
	type mappings = []sandbox.PortMapping
	for text, want := range map[string]mappings{
		"80":                  {{Port: 80, Protocol: "tcp"}},
		"53/udp":              {{Port: 53, Protocol: "udp"}},
		"8080:80":             {{HostPort: 8080, Port: 80, Protocol: "tcp"}},
		"0.0.0.0:8080:80/TCP": {{HostIP: "0.0.0.0", HostPort: 8080, Port: 80, Protocol: "tcp"}},
		"127.0.0.2::80":       {{HostIP: "127.0.0.2", Port: 80, Protocol: "tcp"}},
		"[::1]:8080:80":       {{HostIP: "::1", HostPort: 8080, Port: 80, Protocol: "tcp"}},
		"8000-8010:80":        {{HostPort: 8000, HostPortLast: 8010, Port: 80, Protocol: "tcp"}},
		"8000-8001:80-81":     {{HostPort: 8000, Port: 80, Protocol: "tcp"}, {HostPort: 8001, Port: 81, Protocol: "tcp"}},
	} {
		got, err := parsePublish(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "x", "80/sctp", "70000", "70000:80", "localhost:80:80", "1-3:1-2", "-1:80", "81-80:80", ":", "::"} {
		if got, err := parsePublish(text); err == nil {
			t.Errorf("%q: got %+v instead of an error", text, got)
		}
	}
}

func TestTellPorts(t *testing.T) {
	ports := []sandbox.PortMapping{{HostIP: "::1", HostPort: 1234, Port: 53, Protocol: "udp"}}
	for _, all := range []bool{false, true} {
		var out bytes.Buffer
		(&portFlags{publishAll: all}).tell(&out, ports)
		if want := map[bool]string{true: "bivouac: port 53/udp is [::1]:1234\n"}[all]; out.String() != want {
			t.Errorf("-P=%v: got %q", all, out.String())
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	for _, text := range []string{"80", "[::1]:8000-8010:80/udp", "1-2:3-4", "::::", "[%:1:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 100 {
			return
		}
		mappings, err := parsePublish(text)
		for _, m := range mappings {
			if err == nil && (m.Port == 0 || m.HostPortLast != 0 && m.HostPortLast < m.HostPort) {
				t.Errorf("%q: %+v", text, m)
			}
		}
	})
}
