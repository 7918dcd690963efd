package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
)

// ordinaryCaps is the bounding set of an ordinary Docker container.
var ordinaryCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// data is struct seccomp_data without the instruction pointer.
type data struct {
	number uint32
	audit  uint32
	args   [maxArguments]uint64
}

func (d data) String() string {
	return fmt.Sprintf("call %#x of architecture %#x with %#x", d.number, d.audit, d.args)
}

func (d data) bytes() []byte {
	out := binary.NativeEndian.AppendUint32(nil, d.number)
	out = binary.NativeEndian.AppendUint32(out, d.audit)
	out = binary.NativeEndian.AppendUint64(out, 0)
	for _, arg := range d.args {
		out = binary.NativeEndian.AppendUint64(out, arg)
	}
	return out
}

// machine runs programs as the kernel does.
type machine []bpf.Instruction

// newMachine refuses whatever the kernel's checks refuse (bpf_check_classic, seccomp_check_filter).
func newMachine(code []byte) (machine, error) {
	if len(code) == 0 || len(code)%InstructionSize != 0 || len(code) > MaxLen*InstructionSize {
		return nil, fmt.Errorf("program of %d bytes", len(code))
	}
	var raw []bpf.RawInstruction
	for ; len(code) > 0; code = code[InstructionSize:] {
		raw = append(raw, bpf.RawInstruction{
			Op: binary.NativeEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.NativeEndian.Uint32(code[4:]),
		})
	}
	instructions, ok := bpf.Disassemble(raw)
	if !ok {
		return nil, fmt.Errorf("unknown instructions in %v", instructions)
	}
	return machine(instructions), machine(instructions).check()
}

func (m machine) check() error {
	for at, instruction := range m {
		if err := checkInstruction(instruction, len(m)-at-2); err != nil {
			return fmt.Errorf("instruction %d (%v): %w", at, instruction, err)
		}
	}
	if _, ok := m[len(m)-1].(bpf.RetConstant); !ok {
		return fmt.Errorf("last instruction is %v", m[len(m)-1])
	}
	return nil
}

// checkInstruction allows only what the kernel also allows in calls whose answer it caches.
func checkInstruction(instruction bpf.Instruction, reach int) error {
	switch i := instruction.(type) {
	case bpf.LoadAbsolute:
		if i.Size != 4 || i.Off%4 != 0 || i.Off >= 64 {
			return fmt.Errorf("loads beyond struct seccomp_data")
		}
	case bpf.Jump:
		if int64(i.Skip) > int64(reach) {
			return fmt.Errorf("jumps beyond the end")
		}
	case bpf.JumpIf:
		if int(max(i.SkipTrue, i.SkipFalse)) > reach {
			return fmt.Errorf("jumps beyond the end")
		}
	case bpf.RetConstant:
	case bpf.ALUOpConstant:
		if i.Op != bpf.ALUOpAnd {
			return fmt.Errorf("unexpected operation")
		}
	default:
		return fmt.Errorf("unexpected instruction")
	}
	return nil
}

// run returns the answer and the number of instructions it took.
func (m machine) run(d data) (answer action, steps int) {
	memory, a := d.bytes(), uint32(0)
	for at := 0; ; at++ {
		steps++
		switch i := m[at].(type) {
		case bpf.LoadAbsolute:
			a = binary.NativeEndian.Uint32(memory[i.Off:])
		case bpf.ALUOpConstant:
			a &= i.Val
		case bpf.Jump:
			at += int(i.Skip)
		case bpf.JumpIf:
			at += taken(i, a)
		case bpf.RetConstant:
			return action(i.Val), steps
		}
	}
}

func taken(i bpf.JumpIf, a uint32) int {
	holds := false
	switch i.Cond {
	case bpf.JumpEqual:
		holds = a == i.Val
	case bpf.JumpNotEqual:
		holds = a != i.Val
	case bpf.JumpGreaterThan:
		holds = a > i.Val
	case bpf.JumpLessOrEqual:
		holds = a <= i.Val
	case bpf.JumpGreaterOrEqual:
		holds = a >= i.Val
	case bpf.JumpLessThan:
		holds = a < i.Val
	default:
		panic(fmt.Sprintf("jump %v", i))
	}
	if holds {
		return int(i.SkipTrue)
	}
	return int(i.SkipFalse)
}
