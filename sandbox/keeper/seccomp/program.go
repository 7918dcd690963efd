package seccomp

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

const (
	// MaxLen is the number of instructions that the kernel takes in one program (BPF_MAXINSNS).
	MaxLen = 4096
	// InstructionSize is the size of struct sock_filter in bytes.
	InstructionSize = 8
)

// The layout of struct seccomp_data on little-endian machines.
const (
	offsetNumber    = 0
	offsetArch      = 4
	offsetArguments = 16
	argumentSize    = 8
	offsetHigh      = 4 // within an argument
)

// maxSkip is how far a conditional jump may reach here: one less than its eight bits hold, as a detour to its second
// target makes the way to the first one longer.
const maxSkip = 255 - 1

// label is a place in a program, counted from its end.
type label int

// program is written backwards, so that jumps, which only lead forwards, always know their distance.
type program struct {
	backwards []bpf.Instruction
	returns   map[action]label // the latest of each
}

func newProgram() *program {
	return &program{backwards: make([]bpf.Instruction, 0, 512), returns: map[action]label{}}
}

// prepend writes an instruction before all others. It runs on into the one written before it.
func (p *program) prepend(i bpf.Instruction) label {
	p.backwards = append(p.backwards, i)
	return label(len(p.backwards))
}

// skip is the distance from an instruction about to be written to a label.
func (p *program) skip(to label) int { return len(p.backwards) - int(to) }

// ret returns a place that returns an action, near enough to jump to from here.
func (p *program) ret(a action) label {
	if at, ok := p.returns[a]; ok && p.skip(at) <= maxSkip {
		return at
	}
	p.returns[a] = p.prepend(bpf.RetConstant{Val: uint32(a)})
	return p.returns[a]
}

// load loads a word of struct seccomp_data, then goes on at a label.
func (p *program) load(offset uint32, then label) label {
	p.runInto(then)
	return p.prepend(bpf.LoadAbsolute{Off: offset, Size: 4})
}

// and masks what is loaded, then goes on at a label.
func (p *program) and(mask uint32, then label) label {
	p.runInto(then)
	return p.prepend(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
}

// branch compares what is loaded, then goes on at one of two labels.
func (p *program) branch(test bpf.JumpTest, value uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes, no = p.near(yes), p.near(no)
	return p.prepend(bpf.JumpIf{Cond: test, Val: value, SkipTrue: uint8(p.skip(yes)), SkipFalse: uint8(p.skip(no))})
}

// near returns a place in reach of a conditional jump that leads to a label.
func (p *program) near(to label) label {
	if p.skip(to) <= maxSkip {
		return to
	}
	return p.prepend(bpf.Jump{Skip: uint32(p.skip(to))})
}

// runInto makes sure that the next instruction runs on at a label.
func (p *program) runInto(to label) {
	if p.skip(to) > 0 {
		p.prepend(bpf.Jump{Skip: uint32(p.skip(to))})
	}
}

// bytes returns the program as an array of struct sock_filter.
func (p *program) bytes() ([]byte, error) {
	if len(p.backwards) > MaxLen {
		return nil, fmt.Errorf("the program has %d instructions, the kernel takes %d: use fewer or simpler rules",
			len(p.backwards), MaxLen)
	}
	out := make([]byte, 0, len(p.backwards)*InstructionSize)
	for _, instruction := range slices.Backward(p.backwards) {
		raw, err := instruction.Assemble()
		if err != nil {
			return nil, bug(err)
		}
		out = binary.NativeEndian.AppendUint16(out, raw.Op)
		out = append(out, raw.Jt, raw.Jf)
		out = binary.NativeEndian.AppendUint32(out, raw.K)
	}
	return out, nil
}

// bug labels an error that cannot happen.
func bug(err error) error { return fmt.Errorf("bug: assemble seccomp program: %w", err) }
