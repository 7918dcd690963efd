package notify

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var sample = []Trap{
	{unix.SYS_GETPID, nil},
	{unix.SYS_OPENAT, []Condition{{0, bpf.JumpNotEqual, 100}, {2, bpf.JumpBitsNotSet, 6}}},
	{unix.SYS_OPENAT, []Condition{{2, bpf.JumpBitsSet, 1 << 20}}},
	{unix.SYS_FSTAT, []Condition{{1, bpf.JumpEqual, 7}}},
}

// data is struct seccomp_data as the virtual machine wants it, whose loads are big endian.
func data(arch uint32, number uintptr, args ...uint64) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[offsetNumber:], uint32(number))
	binary.BigEndian.PutUint32(b[offsetArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[offsetArgs+8*i:], uint32(a))
	}
	return b
}

func TestProgramAsksWhereAllConditionsOfATrapHold(t *testing.T) {
	vm, err := bpf.NewVM(Program(sample))
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
		{"no condition", AuditArch, unix.SYS_GETPID, nil, true},
		{"another number", AuditArch, unix.SYS_READ, nil, false},
		{"all hold", AuditArch, unix.SYS_OPENAT, []uint64{1, 0, 1}, true},
		{"the first does not", AuditArch, unix.SYS_OPENAT, []uint64{100, 0, 1}, false},
		{"the last does not", AuditArch, unix.SYS_OPENAT, []uint64{1, 0, 2}, false},
		{"those of the next trap", AuditArch, unix.SYS_OPENAT, []uint64{100, 0, 1<<20 | 2}, true},
		{"equal", AuditArch, unix.SYS_FSTAT, []uint64{0, 7}, true},
		{"not equal", AuditArch, unix.SYS_FSTAT, []uint64{7, 8}, false},
		{"32 bit", unix.AUDIT_ARCH_I386, unix.SYS_GETPID, nil, false},
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

func TestFilterIsAnArrayOfInstructions(t *testing.T) {
	b, err := Filter(sample)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]bpf.RawInstruction, len(b)/unix.SizeofSockFilter)
	if err := binary.Read(bytes.NewReader(b), binary.NativeEndian, raw); err != nil {
		t.Fatal(err)
	}
	if all, ok := bpf.Disassemble(raw); !ok || len(all) != len(Program(sample)) {
		t.Errorf("%d instructions, want %d", len(all), len(Program(sample)))
	}
}
