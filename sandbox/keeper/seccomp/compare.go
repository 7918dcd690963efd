package seccomp

import "golang.org/x/net/bpf"

// test goes on at yes if a condition holds and at no otherwise. Arguments have twice the size of a program's registers,
// so their halves are compared one after the other.
func (p *program) test(a arch, c condition, yes, no label) label {
	if c.negated {
		yes, no = no, yes
	}
	low := offsetArguments + argumentSize*uint32(c.index)
	if c.comparison == equal {
		return p.testEqual(a, low, c, yes, no)
	}
	return p.testOrder(a, low, c, yes, no)
}

// testEqual compares under a mask; halves that the mask clears need no look.
func (p *program) testEqual(a arch, low uint32, c condition, yes, no label) label {
	next := p.maskedEqual(low, uint32(c.mask), uint32(c.value), yes, no)
	if a.narrow {
		return next
	}
	return p.maskedEqual(low+offsetHigh, uint32(c.mask>>32), uint32(c.value>>32), next, no)
}

func (p *program) maskedEqual(offset, mask, value uint32, yes, no label) label {
	if mask == 0 {
		return yes
	}
	next := p.branch(bpf.JumpEqual, value, yes, no)
	if mask != ^uint32(0) {
		next = p.and(mask, next)
	}
	return p.load(offset, next)
}

// testOrder lets the lower halves decide if the upper ones are equal.
func (p *program) testOrder(a arch, low uint32, c condition, yes, no label) label {
	test := bpf.JumpGreaterThan
	if c.comparison == greaterOrEqual {
		test = bpf.JumpGreaterOrEqual
	}
	next := p.load(low, p.branch(test, uint32(c.value), yes, no))
	if a.narrow {
		return next
	}
	high := uint32(c.value >> 32)
	next = p.branch(bpf.JumpEqual, high, next, no)
	return p.load(low+offsetHigh, p.branch(bpf.JumpGreaterThan, high, yes, next))
}
