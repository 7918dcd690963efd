package notify

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify/notifytest"
)

var sample = []Trap{
	{unix.SYS_GETPID, nil},
	{unix.SYS_OPENAT, []Condition{{0, bpf.JumpNotEqual, 100}, {2, bpf.JumpBitsNotSet, 6}}},
	{unix.SYS_OPENAT, []Condition{{2, bpf.JumpBitsSet, 1 << 20}}},
	{unix.SYS_FSTAT, []Condition{{1, bpf.JumpEqual, 7}}},
}

func TestProgramAsksWhereAllConditionsOfATrapHold(t *testing.T) {
	notifytest.Check(t, Program(sample), []notifytest.Case{
		{Name: "no condition", Arch: AuditArch, Number: unix.SYS_GETPID, Asks: true},
		{Name: "another number", Arch: AuditArch, Number: unix.SYS_READ},
		{Name: "all hold", Arch: AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{1, 0, 1}, Asks: true},
		{Name: "the first does not", Arch: AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{100, 0, 1}},
		{Name: "the last does not", Arch: AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{1, 0, 2}},
		{Name: "those of the next trap", Arch: AuditArch, Number: unix.SYS_OPENAT, Args: []uint64{100, 0, 1<<20 | 2}, Asks: true},
		{Name: "equal", Arch: AuditArch, Number: unix.SYS_FSTAT, Args: []uint64{0, 7}, Asks: true},
		{Name: "not equal", Arch: AuditArch, Number: unix.SYS_FSTAT, Args: []uint64{7, 8}},
		{Name: "32 bit", Arch: unix.AUDIT_ARCH_I386, Number: unix.SYS_GETPID},
	})
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
