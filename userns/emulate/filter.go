package emulate

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// InstallFlags are the flags of seccomp(2) the filter wants. Before Linux 5.19 (EINVAL) leave
// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV out: calls of the container are then repeated when a signal arrives.
const InstallFlags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV

// Offsets in struct seccomp_data. Both architectures are little endian: an argument begins with its low half.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// rule says which calls of a number are asked about, and who answers.
type rule struct {
	number uintptr
	when   []condition // all must hold; none: every call
	answer func(*call) answer
}

// condition compares the low 32 bits of an argument.
type condition struct {
	arg  int
	test bpf.JumpTest // JumpEqual, or JumpBitsSet for at least one of the bits
	val  uint32
}

// Filter gives the filter whose notifications Serve answers: an array of struct sock_filter in native byte order.
// Everything it does not ask about is allowed, so it goes on top of a container's own filter.
//
// Whoever installs it (seccomp(2), SECCOMP_SET_MODE_FILTER, InstallFlags) must have set no_new_privs and must call
// nothing but sendmsg, close, execve and exit until the listener is served.
func Filter() ([]byte, error) {
	raw, err := bpf.Assemble(program(rules))
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, raw); err != nil {
		return nil, fmt.Errorf("encode filter: %w", err)
	}
	return b.Bytes(), nil
}

// program lets other architectures through, then asks one number after the other. The kernel (5.11) remembers which
// numbers are always allowed, so the order costs nothing to the calls that matter.
func program(rules []rule) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
	}
	for _, r := range rules {
		body := r.body()
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(r.number), SkipFalse: uint8(len(body))})
		p = append(p, body...)
	}
	return append(p, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
}

// body runs once the number has matched. A failed condition skips to the last instruction, which loads the number
// again, for the rules that follow.
func (r rule) body() []bpf.Instruction {
	if len(r.when) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}}
	}
	var b []bpf.Instruction
	for i, c := range r.when {
		left := len(r.when) - 1 - i
		b = append(b, bpf.LoadAbsolute{Off: offsetArgs + 8*uint32(c.arg), Size: 4},
			bpf.JumpIf{Cond: c.test, Val: c.val, SkipFalse: uint8(2*left + 1)})
	}
	return append(b, bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}, bpf.LoadAbsolute{Off: offsetNumber, Size: 4})
}
