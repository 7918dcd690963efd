package keeper

import (
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// emulatedAs are the options to answer for a process of the container that is somebody.
func (c *container) emulatedAs(u *identity) emulate.Options {
	groups := make([]uint32, len(u.groups))
	for i, g := range u.groups {
		groups[i] = uint32(g)
	}
	return emulate.Options{UID: uint32(u.uid), GID: uint32(u.gid), Groups: groups, State: c.emulation, Dumping: &c.dumping}
}
