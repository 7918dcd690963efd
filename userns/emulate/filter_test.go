package emulate

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// data is struct seccomp_data as the virtual machine wants it, whose loads are big endian.
func data(arch uint32, number uintptr, args ...uint64) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, uint32(number))
	binary.BigEndian.PutUint32(b[offsetArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[offsetArgs+8*i:], uint32(a))
	}
	return b
}

func TestFilterAsksAbout(t *testing.T) {
	vm, err := bpf.NewVM(program(rules))
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
		{"geteuid", auditArch, unix.SYS_GETEUID, nil, true},
		{"read", auditArch, unix.SYS_READ, nil, false},
		{"openat to read", auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDONLY}, false},
		{"openat O_DIRECTORY", auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_DIRECTORY}, false},
		{"openat O_CREAT", auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_CREAT | unix.O_WRONLY}, true},
		{"openat O_TMPFILE", auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_TMPFILE}, true},
		{"prctl name", auditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, false},
		{"prctl keepcaps", auditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_KEEPCAPS}, true},
		{"prctl securebits", auditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_SECUREBITS}, true},
		{"peer", auditArch, unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_PEERCRED}, true},
		{"other option", auditArch, unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_TYPE}, false},
		{"other level", auditArch, unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_IP, unix.SO_PEERCRED}, false},
		{"own limit", auditArch, unix.SYS_PRLIMIT64, []uint64{0, tagResource}, true},
		{"other limit", auditArch, unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE}, false},
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
	vm, err := bpf.NewVM(program(rules))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		args := make([]uint64, 6)
		for _, c := range r.when {
			args[c.arg] = uint64(c.val)
		}
		if got, err := vm.Run(data(auditArch, r.number, args...)); err != nil || got != unix.SECCOMP_RET_USER_NOTIF {
			t.Errorf("system call %d: %#x, %v", r.number, got, err)
		}
		if answers[int32(r.number)] == nil {
			t.Errorf("system call %d has no answer", r.number)
		}
	}
}

func TestFilterIsAnArrayOfInstructions(t *testing.T) {
	b, err := Filter()
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]bpf.RawInstruction, len(b)/unix.SizeofSockFilter)
	if err := binary.Read(bytes.NewReader(b), binary.NativeEndian, raw); err != nil {
		t.Fatal(err)
	}
	if all, ok := bpf.Disassemble(raw); !ok || len(all) != len(program(rules)) {
		t.Errorf("%d instructions, want %d", len(all), len(program(rules)))
	}
}
