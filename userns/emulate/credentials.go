package emulate

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// capabilities is a set of capabilities, bit n for capability number n.
type capabilities uint64

func (c capabilities) has(n int) bool { return c>>n&1 == 1 }

// filesystemCapabilities follow the file system user id, not the effective one.
const filesystemCapabilities = capabilities(1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH |
	1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_LINUX_IMMUTABLE | 1<<unix.CAP_MKNOD | 1<<unix.CAP_MAC_OVERRIDE)

// credentials are those of one process, as its program believes. They are values: nothing changes one in place.
type credentials struct {
	uid, gid  ids
	groups    []uint32
	keepCaps  bool // SECBIT_KEEP_CAPS
	noFixup   bool // SECBIT_NO_SETUID_FIXUP
	permitted capabilities
	effective capabilities
}

// initial are the credentials of a container's first process. Only root begins with capabilities.
func initial(uid, gid uint32, groups []uint32, bounding capabilities) credentials {
	c := credentials{uid: sameIDs(uid), gid: sameIDs(gid), groups: slices.Clone(groups)}
	if uid == 0 {
		c.permitted, c.effective = bounding, bounding
	}
	return c
}

func (c credentials) can(capability int) bool { return c.effective.has(capability) }

// withUID changes the user ids, and the capabilities with them: "Effect of user ID changes" in capabilities(7).
func (c credentials) withUID(n ids) credentials {
	old := c.uid
	c.uid = n
	if c.noFixup {
		return c
	}
	if old.anyRoot() && !n.anyRoot() && !c.keepCaps {
		c.permitted, c.effective = 0, 0
	}
	switch {
	case old.effective == 0 && n.effective != 0:
		c.effective = 0
	case old.effective != 0 && n.effective == 0:
		c.effective = c.permitted
	}
	return c
}

// withFSUID is setfsuid(2), which takes and gives the capabilities over files alone.
func (c credentials) withFSUID(n ids) credentials {
	old := c.uid
	c.uid = n
	switch {
	case c.noFixup:
	case old.fs == 0 && n.fs != 0:
		c.effective &^= filesystemCapabilities
	case old.fs != 0 && n.fs == 0:
		c.effective |= c.permitted & filesystemCapabilities
	}
	return c
}

// executed are the credentials after execve(2) under no_new_privs: nothing is gained, and who is not root keeps the
// ambient capabilities alone.
func (c credentials) executed(ambient capabilities) credentials {
	root, effectiveRoot := c.uid.real == 0 || c.uid.effective == 0, c.uid.effective == 0
	c.uid, c.gid, c.keepCaps = c.uid.executed(), c.gid.executed(), false
	if !root {
		c.permitted &= ambient
	}
	c.effective = c.permitted
	if root && !effectiveRoot {
		c.effective &= ambient
	}
	return c
}

// volatile tells whether execve(2) would change them.
func (c credentials) volatile() bool { return c.key() != c.executed(0).key() }

func (c credentials) owner() Owner { return Owner{c.uid.fs, c.gid.fs} }

func (c credentials) inGroup(gid uint32) bool {
	return gid == c.gid.fs || slices.Contains(c.groups, gid)
}

// mayChown is the rule of chown(2): the owner may give a file to a group of its own, and all else takes CAP_CHOWN.
func (c credentials) mayChown(from, to Owner) bool {
	if c.can(unix.CAP_CHOWN) {
		return true
	}
	mayUser := to.UID == NoopID || to.UID == from.UID
	mayGroup := to.GID == NoopID || to.GID == from.GID || c.inGroup(to.GID)
	return from.UID == c.uid.fs && mayUser && mayGroup
}

// key identifies equal credentials.
func (c credentials) key() string {
	b := make([]byte, 0, 64+4*len(c.groups))
	for _, i := range []ids{c.uid, c.gid} {
		for _, id := range []uint32{i.real, i.effective, i.saved, i.fs} {
			b = binary.NativeEndian.AppendUint32(b, id)
		}
	}
	b = binary.NativeEndian.AppendUint64(b, uint64(c.permitted))
	b = binary.NativeEndian.AppendUint64(b, uint64(c.effective))
	b = append(b, bit(c.keepCaps), bit(c.noFixup))
	for _, g := range c.groups {
		b = binary.NativeEndian.AppendUint32(b, g)
	}
	return string(b)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
