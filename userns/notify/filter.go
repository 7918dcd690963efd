package notify

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// InstallFlags are the flags of seccomp(2) a filter wants. Before Linux 5.19 (EINVAL) leave
// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV out: calls are then repeated when a signal arrives.
const InstallFlags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV

// Offsets in struct seccomp_data. Both architectures are little endian: an argument begins with its low half.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// Trap says which calls of a number are asked about. A number may have several.
type Trap struct {
	Number uintptr
	When   []Condition // all must hold; none: every call
}

// Condition compares the low 32 bits of an argument.
type Condition struct {
	Arg  int
	Test bpf.JumpTest // JumpEqual, JumpNotEqual; JumpBitsSet for at least one of the bits, JumpBitsNotSet for none
	Val  uint32
}

// Filter gives a filter whose notifications a Server answers: an array of struct sock_filter in native byte order.
// Everything it does not ask about is allowed, and so is every call of another architecture.
//
// Whoever installs it (seccomp(2), SECCOMP_SET_MODE_FILTER, InstallFlags) must have set no_new_privs and must call
// nothing that is asked about until the listener is served.
//
// Errors: too many conditions for a jump.
func Filter(traps []Trap) ([]byte, error) {
	raw, err := bpf.Assemble(Program(traps))
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, raw); err != nil {
		return nil, fmt.Errorf("encode filter: %w", err)
	}
	return b.Bytes(), nil
}

// Program is Filter before it is assembled. It lets other architectures through, then asks one number after the other. The
// kernel (5.11) remembers which numbers are always allowed, so the order costs nothing to the calls that matter.
func Program(traps []Trap) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: AuditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
	}
	for _, t := range traps {
		body := t.body()
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(t.Number), SkipFalse: uint8(len(body))})
		p = append(p, body...)
	}
	return append(p, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
}

// body runs once the number has matched. A failed condition skips to the last instruction, which loads the number
// again, for the traps that follow.
func (t Trap) body() []bpf.Instruction {
	if len(t.When) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}}
	}
	var b []bpf.Instruction
	for i, c := range t.When {
		left := len(t.When) - 1 - i
		b = append(b, bpf.LoadAbsolute{Off: offsetArgs + 8*uint32(c.Arg), Size: 4},
			bpf.JumpIf{Cond: c.Test, Val: c.Val, SkipFalse: uint8(2*left + 1)})
	}
	return append(b, bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}, bpf.LoadAbsolute{Off: offsetNumber, Size: 4})
}
