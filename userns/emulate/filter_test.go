package emulate

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
	"github.com/bivouac-run/bivouac/userns/notify/notifytest"
)

func TestFilterAsksAbout(t *testing.T) {
	notifytest.Check(t, notify.Program(traps()), []notifytest.Case{
		{Name: "geteuid", Arch: notify.AuditArch, Number: unix.SYS_GETEUID, Asks: true},
		{Name: "read", Arch: notify.AuditArch, Number: unix.SYS_READ},
		{Name: "openat to read", Arch: notify.AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{0, 0, unix.O_RDONLY}},
		{Name: "openat O_DIRECTORY", Arch: notify.AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{0, 0, unix.O_DIRECTORY}},
		{Name: "openat O_CREAT", Arch: notify.AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{0, 0, unix.O_CREAT | unix.O_WRONLY}, Asks: true},
		{Name: "openat O_TMPFILE", Arch: notify.AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{0, 0, unix.O_TMPFILE}, Asks: true},
		{Name: "prctl name", Arch: notify.AuditArch, Number: unix.SYS_PRCTL, Args: []uint64{unix.PR_SET_NAME}},
		{Name: "prctl keepcaps", Arch: notify.AuditArch, Number: unix.SYS_PRCTL, Args: []uint64{unix.PR_SET_KEEPCAPS}, Asks: true},
		{Name: "prctl securebits", Arch: notify.AuditArch, Number: unix.SYS_PRCTL, Args: []uint64{unix.PR_SET_SECUREBITS}, Asks: true},
		{Name: "peer", Arch: notify.AuditArch, Number: unix.SYS_GETSOCKOPT, Args: []uint64{5, unix.SOL_SOCKET, unix.SO_PEERCRED}, Asks: true},
		{Name: "other option", Arch: notify.AuditArch, Number: unix.SYS_GETSOCKOPT, Args: []uint64{5, unix.SOL_SOCKET, unix.SO_TYPE}},
		{Name: "other level", Arch: notify.AuditArch, Number: unix.SYS_GETSOCKOPT, Args: []uint64{5, unix.SOL_IP, unix.SO_PEERCRED}},
		{Name: "own limit", Arch: notify.AuditArch, Number: unix.SYS_PRLIMIT64, Args: []uint64{0, tagResource}, Asks: true},
		{Name: "other limit", Arch: notify.AuditArch, Number: unix.SYS_PRLIMIT64, Args: []uint64{0, unix.RLIMIT_NOFILE}},
		{Name: "32 bit", Arch: unix.AUDIT_ARCH_I386, Number: unix.SYS_GETEUID},
	})
}

func TestEveryRuleIsAskedAndAnswered(t *testing.T) {
	var cases []notifytest.Case
	for _, r := range rules {
		args := make([]uint64, 6)
		for _, c := range r.when {
			args[c.Arg] = uint64(c.Val)
		}
		name := fmt.Sprintf("system call %d", r.number)
		cases = append(cases, notifytest.Case{Name: name, Arch: notify.AuditArch, Number: r.number, Args: args, Asks: true})
		if answers[int32(r.number)] == nil {
			t.Errorf("%s has no answer", name)
		}
	}
	notifytest.Check(t, notify.Program(traps()), cases)
}
