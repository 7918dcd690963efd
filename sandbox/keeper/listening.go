package keeper

import (
	"context"
	"fmt"
	"os"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/network"
)

// awaitListening returns when something listens on a port.
func (c *container) awaitListening(ctx context.Context, r sandbox.AwaitListeningRequest) (any, error) {
	const doing = "wait for a port of"
	if r.Network != "tcp" && r.Network != "udp" || r.Port == 0 {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "wait for port %d/%s: no such port", r.Port, r.Network).WithRemedy("give a port from 1 to 65535, and tcp or udp")
	}
	p, err := c.running(doing)
	if err != nil {
		return nil, err
	}
	if c.spec.Network == sandbox.NetworkHost {
		err = c.awaitOnHost(ctx, p, r)
	} else {
		err = c.awaitInside(ctx, p, r)
	}
	if err != nil {
		return nil, c.networkError(doing, err)
	}
	return nil, nil
}

func (c *container) awaitInside(ctx context.Context, p *program, r sandbox.AwaitListeningRequest) error {
	ns, err := c.namespace(p)
	if err != nil {
		return err
	}
	_, err = ns.Await(ctx, r.Network, r.Port)
	return err
}

// awaitOnHost takes nobody for the program who happens to use its port.
func (c *container) awaitOnHost(ctx context.Context, p *program, r sandbox.AwaitListeningRequest) error {
	return network.Poll(ctx, p.ended, func() (bool, error) {
		all, err := c.listeners(p)
		for _, l := range all {
			if l.Protocol == r.Network && l.Addr.Port() == r.Port {
				return true, err
			}
		}
		return false, err
	})
}

func (c *container) listening(context.Context, sandbox.ListeningRequest) (any, error) {
	p, err := c.running("list the listeners of")
	if err != nil {
		return nil, err
	}
	all, err := c.listeners(p)
	if err != nil {
		return nil, err
	}
	list := make([]sandbox.Listener, len(all))
	for i, l := range all {
		list[i] = sandbox.Listener{Protocol: l.Protocol, Path: l.Path}
		if l.Addr.IsValid() {
			list[i].IP, list[i].Port = l.Addr.Addr().String(), l.Addr.Port()
		}
	}
	return list, nil
}

// listeners returns what listens. In the host's namespace only the container's own sockets count.
func (c *container) listeners(p *program) ([]network.Listener, error) {
	ns, err := c.namespace(p)
	if err != nil {
		return nil, err
	}
	all, err := ns.Listeners()
	if err != nil {
		return nil, c.networkError("list the listeners of", err)
	}
	if c.spec.Network != sandbox.NetworkHost {
		return all, nil
	}
	own, err := socketsOf(p.pid)
	if err != nil {
		return nil, err
	}
	var kept []network.Listener
	for _, l := range all {
		if own[l.Inode] {
			kept = append(kept, l)
		}
	}
	return kept, nil
}

// socketsOf returns the inodes of the sockets that the container's processes have open.
func socketsOf(first int) (map[uint64]bool, error) {
	pids, err := processesBelow(first)
	if err != nil {
		return nil, err
	}
	own := map[uint64]bool{}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, _ := os.ReadDir(dir) // the process may be gone meanwhile
		for _, e := range entries {
			target, _ := os.Readlink(dir + "/" + e.Name())
			var inode uint64
			if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
				own[inode] = true
			}
		}
	}
	return own, nil
}
