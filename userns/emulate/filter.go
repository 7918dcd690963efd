package emulate

import (
	"github.com/bivouac-run/bivouac/userns/notify"
)

// InstallFlags are the flags of seccomp(2) the filter wants: those of package notify.
const InstallFlags = notify.InstallFlags

// rule says which calls of a number are asked about, and who answers.
type rule struct {
	number uintptr
	when   []notify.Condition // all must hold; none: every call
	answer func(*call) notify.Answer
}

// Filter gives the filter whose notifications Serve answers: an array of struct sock_filter in native byte order.
// Everything it does not ask about is allowed, so it goes on top of a container's own filter.
//
// Whoever installs it (seccomp(2), SECCOMP_SET_MODE_FILTER, InstallFlags) must have set no_new_privs and must call
// nothing but sendmsg, close, execve and exit until the listener is served.
func Filter() ([]byte, error) { return notify.Filter(traps()) }

func traps() []notify.Trap {
	var all []notify.Trap
	for _, r := range rules {
		all = append(all, notify.Trap{Number: r.number, When: r.when})
	}
	return all
}
