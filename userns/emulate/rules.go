package emulate

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// rules are all calls that are asked about: the filter and the answers are made from this one list.
var rules []rule

// answers finds a rule's answer by number.
var answers = map[int32]func(*call) notify.Answer{}

func init() {
	rules = slices.Concat(credentialRules(), fileRules(), otherRules(), archRules())
	for _, r := range rules {
		answers[int32(r.number)] = r.answer
	}
}

func credentialRules() []rule {
	return []rule{
		{unix.SYS_GETUID, nil, getuid},
		{unix.SYS_GETEUID, nil, geteuid},
		{unix.SYS_GETGID, nil, getgid},
		{unix.SYS_GETEGID, nil, getegid},
		{unix.SYS_GETRESUID, nil, getresuid},
		{unix.SYS_GETRESGID, nil, getresgid},
		{unix.SYS_GETGROUPS, nil, getgroups},
		{unix.SYS_SETUID, nil, setuid},
		{unix.SYS_SETGID, nil, setgid},
		{unix.SYS_SETREUID, nil, setreuid},
		{unix.SYS_SETREGID, nil, setregid},
		{unix.SYS_SETRESUID, nil, setresuid},
		{unix.SYS_SETRESGID, nil, setresgid},
		{unix.SYS_SETFSUID, nil, setfsuid},
		{unix.SYS_SETFSGID, nil, setfsgid},
		{unix.SYS_SETGROUPS, nil, setgroups},
		{unix.SYS_CAPGET, nil, capget},
		{unix.SYS_CAPSET, nil, capset},
		{unix.SYS_PRCTL, []notify.Condition{equal(0, unix.PR_SET_KEEPCAPS)}, prctl},
		{unix.SYS_PRCTL, []notify.Condition{equal(0, unix.PR_SET_SECUREBITS)}, prctl},
	}
}

func fileRules() []rule {
	return []rule{
		{unix.SYS_FCHOWN, nil, fchown},
		{unix.SYS_FCHOWNAT, nil, fchownat},
		{unix.SYS_FSTAT, nil, fstat},
		{sysFstatat, nil, fstatat},
		{unix.SYS_STATX, nil, statx},
		{unix.SYS_OPENAT, []notify.Condition{anyBit(2, creating)}, openat},
		{unix.SYS_OPENAT2, nil, openat2},
		{unix.SYS_MKDIRAT, nil, mkdirat},
		{unix.SYS_MKNODAT, nil, mknodat},
		{unix.SYS_SYMLINKAT, nil, symlinkat},
	}
}

func otherRules() []rule {
	return []rule{
		{unix.SYS_GETSOCKOPT, []notify.Condition{equal(1, unix.SOL_SOCKET), equal(2, unix.SO_PEERCRED)}, peerCredentials},
		{unix.SYS_GETRLIMIT, []notify.Condition{equal(0, tagResource)}, getrlimit},
		{unix.SYS_SETRLIMIT, []notify.Condition{equal(0, tagResource)}, setrlimit},
		{unix.SYS_PRLIMIT64, []notify.Condition{equal(1, tagResource)}, prlimit},
	}
}

func equal(arg int, v uint32) notify.Condition {
	return notify.Condition{Arg: arg, Test: bpf.JumpEqual, Val: v}
}
func anyBit(arg int, v uint32) notify.Condition {
	return notify.Condition{Arg: arg, Test: bpf.JumpBitsSet, Val: v}
}
