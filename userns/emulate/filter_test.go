package emulate

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// data is struct seccomp_data as the virtual machine wants it, whose loads are big endian.
func data(arch uint32, number uintptr, args ...uint64) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, uint32(number))
	binary.BigEndian.PutUint32(b[4:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[16+8*i:], uint32(a))
	}
	return b
}

func TestFilterAsksAbout(t *testing.T) {
	vm, err := bpf.NewVM(notify.Program(traps()))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		arch   uint32
		number uintptr
		args   []uint64
		asks   bool
	}{
		{"geteuid", notify.AuditArch, unix.SYS_GETEUID, nil, true},
		{"read", notify.AuditArch, unix.SYS_READ, nil, false},
		{"openat to read", notify.AuditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDONLY}, false},
		{"openat O_DIRECTORY", notify.AuditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_DIRECTORY}, false},
		{"openat O_CREAT", notify.AuditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_CREAT | unix.O_WRONLY}, true},
		{"openat O_TMPFILE", notify.AuditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_TMPFILE}, true},
		{"prctl name", notify.AuditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, false},
		{"prctl keepcaps", notify.AuditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_KEEPCAPS}, true},
		{"prctl securebits", notify.AuditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_SECUREBITS}, true},
		{"peer", notify.AuditArch, unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_PEERCRED}, true},
		{"other option", notify.AuditArch, unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_TYPE}, false},
		{"other level", notify.AuditArch, unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_IP, unix.SO_PEERCRED}, false},
		{"own limit", notify.AuditArch, unix.SYS_PRLIMIT64, []uint64{0, tagResource}, true},
		{"other limit", notify.AuditArch, unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE}, false},
		{"32 bit", unix.AUDIT_ARCH_I386, unix.SYS_GETEUID, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := unix.SECCOMP_RET_ALLOW
			if tt.asks {
				want = unix.SECCOMP_RET_USER_NOTIF
			}
			if got, err := vm.Run(data(tt.arch, tt.number, tt.args...)); err != nil || got != want {
				t.Errorf("got %#x, %v, want %#x", got, err, want)
			}
		})
	}
}

func TestEveryRuleIsAskedAndAnswered(t *testing.T) {
	vm, err := bpf.NewVM(notify.Program(traps()))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		args := make([]uint64, 6)
		for _, c := range r.when {
			args[c.Arg] = uint64(c.Val)
		}
		if got, err := vm.Run(data(notify.AuditArch, r.number, args...)); err != nil || got != unix.SECCOMP_RET_USER_NOTIF {
			t.Errorf("system call %d: %#x, %v", r.number, got, err)
		}
		if answers[int32(r.number)] == nil {
			t.Errorf("system call %d has no answer", r.number)
		}
	}
}
