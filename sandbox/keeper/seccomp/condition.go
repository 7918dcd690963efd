package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxArguments is how many arguments a syscall has at most.
const maxArguments = 6

// comparison is one of the three ways to compare that the others are the negations of.
type comparison uint8

const (
	equal comparison = iota
	greater
	greaterOrEqual
)

// condition is a test of one argument: argument&mask against value, or that negated. All values are unsigned.
type condition struct {
	index      uint
	comparison comparison
	negated    bool
	mask       uint64
	value      uint64
}

// parseCondition reads a condition. Value is the mask of SCMP_CMP_MASKED_EQ and ValueTwo what it leaves; the other
// operators have no second value.
func parseCondition(arg specs.LinuxSeccompArg) (condition, error) {
	if arg.Index >= maxArguments {
		return condition{}, fmt.Errorf("argument index %d: syscalls have arguments 0 to %d", arg.Index, maxArguments-1)
	}
	if arg.Op == specs.OpMaskedEqual {
		return condition{index: arg.Index, mask: arg.Value, value: arg.ValueTwo & arg.Value}, nil
	}
	if arg.ValueTwo != 0 {
		return condition{}, fmt.Errorf("operator %s takes no valueTwo, yet %d is set: remove it", arg.Op, arg.ValueTwo)
	}
	how, negated, ok := parseOperator(arg.Op)
	if !ok {
		return condition{}, fmt.Errorf("%q is not an operator (SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ, ...)", arg.Op)
	}
	return condition{index: arg.Index, comparison: how, negated: negated, mask: ^uint64(0), value: arg.Value}, nil
}

func parseOperator(op specs.LinuxSeccompOperator) (how comparison, negated, ok bool) {
	switch op {
	case specs.OpEqualTo:
		return equal, false, true
	case specs.OpNotEqual:
		return equal, true, true
	case specs.OpGreaterThan:
		return greater, false, true
	case specs.OpLessEqual:
		return greater, true, true
	case specs.OpGreaterEqual:
		return greaterOrEqual, false, true
	case specs.OpLessThan:
		return greaterOrEqual, true, true
	}
	return equal, false, false
}
