package emulate

import "golang.org/x/sys/unix"

// unchanged is -1 as an id: "leave it".
const unchanged = ^uint32(0)

// ids are the four user ids, or the four group ids, of credentials(7).
type ids struct{ real, effective, saved, fs uint32 }

func sameIDs(id uint32) ids { return ids{id, id, id, id} }

func (i ids) anyRoot() bool { return i.real == 0 || i.effective == 0 || i.saved == 0 }

// has tells whether an unprivileged process may become id.
func (i ids) has(id uint32) bool { return id == i.real || id == i.effective || id == i.saved }

// set is setuid(2) and setgid(2).
func (i ids) set(id uint32, privileged bool) (ids, unix.Errno) {
	switch {
	case id == unchanged:
		return i, unix.EINVAL
	case privileged:
		return sameIDs(id), 0
	case id != i.real && id != i.saved:
		return i, unix.EPERM
	}
	return ids{i.real, id, i.saved, id}, 0
}

// setRE is setreuid(2) and setregid(2).
func (i ids) setRE(real, effective uint32, privileged bool) (ids, unix.Errno) {
	mayReal := real == unchanged || real == i.real || real == i.effective
	mayEffective := effective == unchanged || i.has(effective)
	if !privileged && !(mayReal && mayEffective) {
		return i, unix.EPERM
	}
	n := ids{real: or(real, i.real), effective: or(effective, i.effective), saved: i.saved}
	if real != unchanged || effective != unchanged && effective != i.real {
		n.saved = n.effective
	}
	n.fs = n.effective
	return n, 0
}

// setRES is setresuid(2) and setresgid(2).
func (i ids) setRES(real, effective, saved uint32, privileged bool) (ids, unix.Errno) {
	for _, id := range []uint32{real, effective, saved} {
		if id != unchanged && !privileged && !i.has(id) {
			return i, unix.EPERM
		}
	}
	n := ids{real: or(real, i.real), effective: or(effective, i.effective), saved: or(saved, i.saved)}
	n.fs = n.effective
	return n, 0
}

// setFS is setfsuid(2) and setfsgid(2), which never fail.
func (i ids) setFS(id uint32, privileged bool) ids {
	if id != unchanged && (privileged || i.has(id) || id == i.fs) {
		i.fs = id
	}
	return i
}

// executed are the ids after execve(2) of a program that is not set-id.
func (i ids) executed() ids { return ids{i.real, i.effective, i.effective, i.effective} }

func or(id, otherwise uint32) uint32 {
	if id == unchanged {
		return otherwise
	}
	return id
}
