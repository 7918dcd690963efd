package bridge

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// InstallFlags are the flags of seccomp(2) the filter wants, see package notify.
const InstallFlags = notify.InstallFlags

// Filter gives the filter that CRIU is to be executed under: an array of struct sock_filter in native byte order. It allows
// everything; Serve answers what it asks about. Whoever installs it must call neither openat(2) nor a kind of stat(2) before
// the listener is served.
func Filter() ([]byte, error) {
	var traps []notify.Trap
	for _, r := range rules {
		traps = append(traps, r.trap)
	}
	return notify.Filter(traps)
}

// rule says which calls are asked about, and who answers.
type rule struct {
	trap   notify.Trap
	answer func(*call) notify.Answer
}

// rules name a number once each. The conditions leave out what CRIU does most: opening its images and libraries, and asking
// for the link itself of every mapping. CRIU 4.2.1 with glibc 2.43 makes no other calls (statx, openat2) of this kind.
var rules = append([]rule{
	{notify.Trap{Number: unix.SYS_OPENAT, When: []notify.Condition{
		{Arg: 0, Test: bpf.JumpNotEqual, Val: cwd},
		{Arg: 2, Test: bpf.JumpBitsNotSet, Val: unix.O_ACCMODE | unix.O_CREAT | unix.O_DIRECTORY},
	}}, (*call).openat},
	{notify.Trap{Number: sysFstatat, When: []notify.Condition{
		{Arg: 3, Test: bpf.JumpBitsNotSet, Val: unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH},
	}}, func(c *call) notify.Answer { return c.statPath(c.fd(0), c.Args[1], c.Args[2]) }},
}, archRules...)

const cwd = 1<<32 + unix.AT_FDCWD // as 32 bits

// answers finds a rule's answer by number.
var answers = map[int32]func(*call) notify.Answer{}

func init() {
	for _, r := range rules {
		answers[int32(r.trap.Number)] = r.answer
	}
}
