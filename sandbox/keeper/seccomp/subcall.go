package seccomp

// subcall is a call that 32-bit x86 also, or only, makes through another call which takes its number as the first
// argument and a pointer to its arguments as the second.
type subcall struct {
	through string
	number  uint64
	mask    uint64 // of the bits of the first argument that hold the number
}

const (
	socketcallMask = 0xffffffff
	ipcMask        = 0xffff // the upper half is a version (ipc/syscall.c)
)

// subcalls are the numbers in linux/net.h and linux/ipc.h.
var subcalls = [...]struct {
	name string
	subcall
}{
	{"socket", subcall{"socketcall", 1, socketcallMask}},
	{"bind", subcall{"socketcall", 2, socketcallMask}},
	{"connect", subcall{"socketcall", 3, socketcallMask}},
	{"listen", subcall{"socketcall", 4, socketcallMask}},
	{"accept", subcall{"socketcall", 5, socketcallMask}},
	{"getsockname", subcall{"socketcall", 6, socketcallMask}},
	{"getpeername", subcall{"socketcall", 7, socketcallMask}},
	{"socketpair", subcall{"socketcall", 8, socketcallMask}},
	{"send", subcall{"socketcall", 9, socketcallMask}},
	{"recv", subcall{"socketcall", 10, socketcallMask}},
	{"sendto", subcall{"socketcall", 11, socketcallMask}},
	{"recvfrom", subcall{"socketcall", 12, socketcallMask}},
	{"shutdown", subcall{"socketcall", 13, socketcallMask}},
	{"setsockopt", subcall{"socketcall", 14, socketcallMask}},
	{"getsockopt", subcall{"socketcall", 15, socketcallMask}},
	{"sendmsg", subcall{"socketcall", 16, socketcallMask}},
	{"recvmsg", subcall{"socketcall", 17, socketcallMask}},
	{"accept4", subcall{"socketcall", 18, socketcallMask}},
	{"recvmmsg", subcall{"socketcall", 19, socketcallMask}},
	{"sendmmsg", subcall{"socketcall", 20, socketcallMask}},
	{"semop", subcall{"ipc", 1, ipcMask}},
	{"semget", subcall{"ipc", 2, ipcMask}},
	{"semctl", subcall{"ipc", 3, ipcMask}},
	{"semtimedop", subcall{"ipc", 4, ipcMask}},
	{"msgsnd", subcall{"ipc", 11, ipcMask}},
	{"msgrcv", subcall{"ipc", 12, ipcMask}},
	{"msgget", subcall{"ipc", 13, ipcMask}},
	{"msgctl", subcall{"ipc", 14, ipcMask}},
	{"shmat", subcall{"ipc", 21, ipcMask}},
	{"shmdt", subcall{"ipc", 22, ipcMask}},
	{"shmget", subcall{"ipc", 23, ipcMask}},
	{"shmctl", subcall{"ipc", 24, ipcMask}},
}

// subcallOf finds the sub-call that does the same as the named call.
func subcallOf(name string) (subcall, bool) {
	for i := range subcalls {
		if subcalls[i].name == name {
			return subcalls[i].subcall, true
		}
	}
	return subcall{}, false
}

// translate makes a call's rule into one for its sub-call. The rule's own conditions are about arguments that a
// program cannot read; without them it would grant more than the profile, so only a stricter one than the default stays.
func (s subcall) translate(r rule, byDefault action) (rule, bool) {
	if len(r.conditions) > 0 && !r.action.stricter(byDefault) {
		return rule{}, false
	}
	return rule{r.action, []condition{{mask: s.mask, value: s.number}}}, true
}
