package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// systemFiles makes the files of /etc that belong to the container and not to its image: its name, the hosts that it
// knows, and with the host's network the resolver's configuration. The machine's own root keeps its own.
func (c *container) systemFiles() ([]sandbox.Mount, error) {
	if c.image.Host {
		if len(c.spec.ExtraHosts) > 0 {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "add %s to /etc/hosts: with host: it is the machine's", c.spec.ExtraHosts[0]).
				WithRemedy("use an image")
		}
		return nil, nil
	}
	contents := []struct{ name, text string }{
		{"hostname", c.hostname() + "\n"},
		{"hosts", hosts(c.hostname())},
	}
	if c.spec.Network == sandbox.NetworkHost {
		contents[1].text = readOr("/etc/hosts", contents[1].text)
		contents = append(contents, struct{ name, text string }{"resolv.conf", readOr("/etc/resolv.conf", "")})
	}
	if c.hasMachineID() {
		contents = append(contents, struct{ name, text string }{"machine-id", c.id[:32] + "\n"})
	}
	for _, h := range c.spec.ExtraHosts {
		name, address, _ := strings.Cut(h, ":")
		contents[1].text += address + "\t" + name + "\n"
	}
	var mounts []sandbox.Mount
	for _, f := range contents {
		source := filepath.Join(c.area.files, f.name)
		if err := os.WriteFile(source, []byte(f.text), 0o644); err != nil {
			return nil, fmt.Errorf("write /etc/%s for the container: %w", f.name, noSpace(err))
		}
		mounts = append(mounts, sandbox.Mount{Type: sandbox.MountBind, Source: source, Target: "/etc/" + f.name})
	}
	return mounts, nil
}

// hasMachineID tells whether the container needs a machine id of its own, since it has that of what it is a clone of.
func (c *container) hasMachineID() bool {
	if c.source == nil {
		return false
	}
	text, err := readRegular(c.area.root, "etc/machine-id")
	return err == nil && len(text) == len(c.id[:32])+1
}

func hosts(name string) string {
	return "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + name + "\n"
}

// readOr returns a file of the machine, or what stands in for one that it does not have.
func readOr(path, otherwise string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	return string(text)
}
