package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// capHeader and capData are the structures of capget(2); the data come in a low and a high half.
type capHeader struct {
	Version uint32
	PID     int32
}

type capData [2]struct{ Effective, Permitted, Inheritable uint32 }

func (d *capData) sets() (effective, permitted capabilities) {
	return capabilities(d[0].Effective) | capabilities(d[1].Effective)<<32,
		capabilities(d[0].Permitted) | capabilities(d[1].Permitted)<<32
}

func (d *capData) fill(effective, permitted, inheritable capabilities) {
	for i := range d {
		shift := 32 * i
		d[i].Effective, d[i].Permitted = uint32(effective>>shift), uint32(permitted>>shift)
		d[i].Inheritable = uint32(inheritable >> shift)
	}
}

// ownCapabilities reads the header, and tells whether the call is about the caller itself in a format of two halves.
// Everything else is the kernel's.
func (c *call) ownCapabilities() bool {
	var h capHeader
	if c.readMemory(c.Args[0], notify.BytesOf(&h)) != 0 || c.Args[1] == 0 {
		return false
	}
	if h.Version != unix.LINUX_CAPABILITY_VERSION_2 && h.Version != unix.LINUX_CAPABILITY_VERSION_3 {
		return false
	}
	own, err := c.ownNumber()
	return h.PID == 0 || err == nil && h.PID == own
}

func capget(c *call) notify.Answer {
	if !c.ownCapabilities() {
		return notify.AsAsked()
	}
	inheritable, err := c.statusNumber("CapInh", 16)
	if err != nil {
		return notify.AsAsked()
	}
	return c.tell(func(k credentials) notify.Answer {
		var d capData
		d.fill(k.effective, k.permitted, capabilities(inheritable))
		return result(c.writeBytes(c.Args[1], notify.BytesOf(&d)))
	})
}

// capset refuses what the emulated credentials do not allow. The kernel then does it to the real ones as well, which
// checks the rest and never gives the process more than it had.
func capset(c *call) notify.Answer {
	var d capData
	if !c.ownCapabilities() || c.readMemory(c.Args[1], notify.BytesOf(&d)) != 0 {
		return notify.AsAsked()
	}
	return c.changeBoth(func(k credentials) (credentials, unix.Errno) {
		effective, permitted := d.sets()
		if permitted&^k.permitted != 0 || effective&^permitted != 0 {
			return k, unix.EPERM
		}
		k.effective, k.permitted = effective, permitted
		return k, 0
	})
}

// Bits of PR_SET_SECUREBITS.
const (
	noSetuidFixup = 1 << 2
	keepCaps      = 1 << 4
)

// prctl follows the two switches that say what leaving root does to the capabilities.
func prctl(c *call) notify.Answer {
	return c.changeBoth(func(k credentials) (credentials, unix.Errno) {
		if c.id(0) == unix.PR_SET_KEEPCAPS {
			k.keepCaps = c.Args[1] == 1
			return k, 0
		}
		if !k.can(unix.CAP_SETPCAP) {
			return k, unix.EPERM
		}
		k.keepCaps, k.noFixup = c.Args[1]&keepCaps != 0, c.Args[1]&noSetuidFixup != 0
		return k, 0
	})
}

// changeBoth changes the emulated credentials and lets the kernel change the real ones.
func (c *call) changeBoth(f func(credentials) (credentials, unix.Errno)) notify.Answer {
	if a := c.change(f); a.Errno() != 0 {
		return a
	}
	return notify.AsAsked()
}
