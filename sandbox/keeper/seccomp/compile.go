package seccomp

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// Compile makes a profile into a program for this machine: an array of struct sock_filter in native byte order, at most
// [MaxLen] long, as struct sock_fprog wants it.
//
// Errors name the entry of the profile: an action, operator, architecture, errno or argument index that does not exist,
// an errno for an action that takes none, a program too long. What exists but is not supported here
// (SCMP_ACT_NOTIFY, other machines) is an [*UnsupportedError].
func Compile(p *specs.LinuxSeccomp) ([]byte, error) {
	family, err := host()
	if err != nil {
		return nil, fmt.Errorf("compile seccomp profile: %w", err)
	}
	return family.compile(p)
}

func (f family) compile(p *specs.LinuxSeccomp) ([]byte, error) {
	code, err := f.program(p)
	if err != nil {
		return nil, fmt.Errorf("compile seccomp profile: %w", err)
	}
	return code, nil
}

// program writes a dispatch on the architecture and a part for each.
func (f family) program(p *specs.LinuxSeccomp) ([]byte, error) {
	if p == nil {
		return nil, errors.New("there is none")
	}
	arches, err := f.filtered(p.Architectures)
	if err != nil {
		return nil, err
	}
	policies, err := newPolicies(p, arches)
	if err != nil {
		return nil, err
	}
	out := newProgram()
	next := out.ret(actionKill)
	for i := len(policies) - 1; i >= 0; i-- {
		start := out.load(offsetNumber, out.search(arches[i], policies[i].segments()))
		next = out.branch(bpf.JumpEqual, arches[i].audit, start, next)
	}
	out.load(offsetArch, next)
	return out.bytes()
}

// search finds the segment of the loaded number by halving.
func (p *program) search(a arch, segments []segment) label {
	if len(segments) == 1 {
		return p.decide(a, segments[0].verdict)
	}
	middle := len(segments) / 2
	above := p.search(a, segments[middle:])
	below := p.search(a, segments[:middle])
	return p.branch(bpf.JumpGreaterOrEqual, segments[middle].from, above, below)
}

// decide tries the rules of a verdict in order.
func (p *program) decide(a arch, v verdict) label {
	next := p.ret(v.resort)
	for i := len(v.rules) - 1; i >= 0; i-- {
		next = p.try(a, v.rules[i], next)
	}
	return next
}

// try answers with the rule's action if all conditions hold, and goes on at otherwise if not.
func (p *program) try(a arch, r rule, otherwise label) label {
	next := p.ret(r.action)
	for i := len(r.conditions) - 1; i >= 0; i-- {
		next = p.test(a, r.conditions[i], next, otherwise)
	}
	return next
}
