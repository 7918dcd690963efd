package keeper

import (
	"slices"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestExposedPorts(t *testing.T) {
	for text, want := range map[string][]sandbox.PortMapping{
		"80":      {{Port: 80, Protocol: "tcp"}},
		"53/UDP":  {{Port: 53, Protocol: "udp"}},
		"1-2/tcp": {{Port: 1, Protocol: "tcp"}, {Port: 2, Protocol: "tcp"}},
	} {
		if got, err := exposedPorts(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "2-1", "80/sctp", "65536", "1-65536/tcp", "80/tcp/udp"} {
		if _, err := exposedPorts(text); sandbox.CodeOf(err) != sandbox.CodeBadImage {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestSplitAddress(t *testing.T) {
	for _, text := range []string{"", "80", ":", ":0", ":65536", "name:80", "1.2.3:80", "[::1]", "::1:80"} {
		if _, _, err := splitAddress("tcp", text); sandbox.CodeOf(err) != sandbox.CodeInvalid {
			t.Errorf("%q: got %v", text, err)
		}
	}
	for _, text := range []string{":80", "localhost:80", "127.0.0.5:80", "[::1]:80"} {
		if _, port, err := splitAddress("tcp", text); err != nil || port != 80 {
			t.Errorf("%q: got %d, %v", text, port, err)
		}
	}
}

func FuzzExposedPorts(f *testing.F) {
	f.Add("80/tcp")
	f.Add("8000-8010")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := exposedPorts(text)
		if err == nil && len(list) == 0 {
			t.Errorf("%q: neither ports nor an error", text)
		}
		_, _, _ = splitAddress("udp", text)
	})
}
