package emulate

import (
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// peerCredentials answers SO_PEERCRED with the emulated ids of a peer in the same pid namespace. The kernel answers
// about all others, and about a peer that is gone.
func peerCredentials(c *call) notify.Answer {
	peer, ok := c.peer()
	if !ok || !peer.neighbour(c.process) {
		return notify.AsAsked()
	}
	k, err := c.credentials(peer)
	if err != nil {
		return notify.AsAsked()
	}
	pid, err := peer.ownNumber()
	if err != nil {
		return notify.AsAsked()
	}
	return c.writeOption(notify.BytesOf(&unix.Ucred{Pid: pid, Uid: k.uid.effective, Gid: k.gid.effective}))
}

// peer asks the kernel, through a copy of the caller's socket, who is at the other end.
func (c *call) peer() (process, bool) {
	group, err := c.statusNumber("Tgid", 10)
	if err != nil {
		return process{}, false
	}
	pidfd, err := unix.PidfdOpen(int(group), 0)
	if err != nil {
		return process{}, false
	}
	defer closeFD(pidfd)
	socket, err := unix.PidfdGetfd(pidfd, c.fd(0), 0)
	if err != nil {
		return process{}, false
	}
	defer closeFD(socket)
	u, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || u.Pid == 0 {
		return process{}, false
	}
	return process{int(u.Pid), c.procfs}, true
}

// writeOption writes a socket option as getsockopt(2) does: as much as there is room, and how much that is.
func (c *call) writeOption(b []byte) notify.Answer {
	var room uint32
	if e := c.readMemory(c.Args[4], notify.BytesOf(&room)); e != 0 {
		return notify.Fail(e)
	}
	if int32(room) < 0 {
		return notify.Fail(unix.EINVAL)
	}
	n := min(room, uint32(len(b)))
	if e := c.writeBytes(c.Args[3], b[:n]); e != 0 {
		return notify.Fail(e)
	}
	return result(c.write(c.Args[4], &n))
}
