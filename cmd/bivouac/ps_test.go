package main

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestContainerRows(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	status := func(state sandbox.State) sandbox.Status {
		return sandbox.Status{
			Info: sandbox.Info{
				ID: "0123456789abcdef", Name: "web", Image: sandbox.ImageInfo{Name: "docker.io/library/nginx:1"},
				Args:         []string{"sh", "-c", "echo a b c d e f g"},
				Ports:        []sandbox.PortMapping{{HostIP: "127.0.0.1", HostPort: 8080, Port: 80}, {HostIP: "::1", HostPort: 53, Port: 53, Protocol: "udp"}},
				ExposedPorts: []string{"80/tcp", "443/tcp"},
				Labels:       map[string]string{"b": "2", "a": "1"},
			},
			State: state, Created: now.Add(-2 * time.Minute), Started: now.Add(-time.Minute), Finished: now.Add(-3 * time.Second),
			Exit: sandbox.Exit{Code: 3},
		}
	}
	want := containerRow{
		ID: "0123456789ab", Image: "nginx:1", Command: `"sh -c 'echo a b c d…"`, CreatedAt: now.Add(-2 * time.Minute).Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: "2 minutes ago", Status: "Up About a minute", State: "running",
		Ports: "127.0.0.1:8080->80/tcp, [::1]:53->53/udp, 443/tcp", Names: "web", Labels: "a=1,b=2",
	}
	f := &psFlags{}
	want.LocalVolumes, want.Networks, want.labels = "0", "none", map[string]string{"b": "2", "a": "1"}
	if got := f.rows([]sandbox.Record{{Status: status(sandbox.StateRunning)}}, now)[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for state, text := range map[sandbox.State]string{
		sandbox.StatePaused: "Up About a minute (Paused)", sandbox.StateExited: "Exited (3) 3 seconds ago", sandbox.StateCreated: "Created",
	} {
		if got := describeStatus(status(state), now); got != text {
			t.Errorf("%s: %s", state, got)
		}
	}
}

func TestDescribePortRanges(t *testing.T) {
	at := func(ip string, host, port uint16) sandbox.PortMapping {
		return sandbox.PortMapping{HostIP: ip, HostPort: host, Port: port, Protocol: "tcp"}
	}
	for want, ports := range map[string][]sandbox.PortMapping{
		"":                                   nil,
		"1.1.1.1:8000-8002->80-82/tcp":       {at("1.1.1.1", 8000, 80), at("1.1.1.1", 8001, 81), at("1.1.1.1", 8002, 82)},
		"1.1.1.1:1->1/tcp, 2.2.2.2:2->2/tcp": {at("1.1.1.1", 1, 1), at("2.2.2.2", 2, 2)},
		"1.1.1.1:1-2->5-6/tcp, 1.1.1.1:3->9/tcp, 1.1.1.1:5->10/tcp": {at("1.1.1.1", 1, 5), at("1.1.1.1", 2, 6), at("1.1.1.1", 3, 9), at("1.1.1.1", 5, 10)},
	} {
		s := sandbox.Status{Info: sandbox.Info{Ports: ports}, State: sandbox.StateRunning}
		if got := describePorts(s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestImageName(t *testing.T) {
	for full, want := range map[string]string{
		"docker.io/library/nginx:1": "nginx:1", "docker.io/me/app:2": "me/app:2", "quay.io/library/x:3": "quay.io/library/x:3",
		"host:": "host:", "oci:/images/busybox:latest": "oci:/images/busybox:latest",
	} {
		if got := imageName(full); got != want {
			t.Errorf("%s: %s", full, got)
		}
	}
}

func TestPrintPort(t *testing.T) {
	c := &sandbox.Status{Info: sandbox.Info{Name: "web", Ports: []sandbox.PortMapping{
		{HostIP: "127.0.0.1", HostPort: 8080, Port: 80}, {HostIP: "::1", HostPort: 8080, Port: 80}, {HostIP: "127.0.0.1", HostPort: 53, Port: 53, Protocol: "udp"},
	}}}
	for wanted, want := range map[string]string{"80": "127.0.0.1:8080\n[::1]:8080\n", "80/tcp": "127.0.0.1:8080\n[::1]:8080\n", "53/udp": "127.0.0.1:53\n", "53": "", "x": "", "80/sctp": ""} {
		var out bytes.Buffer
		if err := printPort(&out, c, wanted); out.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", wanted, out.String(), err)
		}
	}
}

// Names have a slash before them for Docker, which scripts write.
func TestFilterByName(t *testing.T) {
	for filter, want := range map[string]bool{
		"name=web": true, "name=^/web$": true, "name=^web$": true, "name=/we": true, "name=^/eb": false, "name=//web": false, "name=^/web-1$": false,
	} {
		f, err := parsePsFilters([]string{filter})
		if err != nil {
			t.Fatal(err)
		}
		fits, err := f.matcher(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fits(&sandbox.Record{Status: sandbox.Status{Info: sandbox.Info{Name: "web"}}}); got != want {
			t.Errorf("%s: %t", filter, got)
		}
	}
}
