package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// policy is what a profile says about the calls of one architecture.
type policy struct {
	arch      arch
	byDefault action
	rules     []rule
	// places say which call each rule is for: its number in the upper half, the rule's index in the lower, so that
	// sorting groups the rules of a call and keeps their order.
	places []uint64
	newest uint32 // the highest number that the profile names, 0 for none
}

// newPolicies reads a profile for each architecture.
func newPolicies(p *specs.LinuxSeccomp, arches []arch) ([]*policy, error) {
	byDefault, err := parseAction(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	policies := make([]*policy, len(arches))
	for i, a := range arches {
		policies[i] = &policy{arch: a, byDefault: byDefault}
	}
	for i, call := range p.Syscalls {
		if err := addEntry(policies, call); err != nil {
			return nil, entryError(i, call, err)
		}
	}
	return policies, nil
}

func addEntry(policies []*policy, call specs.LinuxSyscall) error {
	rules, err := parseRules(call)
	if err != nil {
		return err
	}
	for _, name := range call.Names {
		if name == "" {
			return fmt.Errorf("a name is empty")
		}
		if row, ok := lookup(name); ok {
			for _, policy := range policies {
				policy.add(row, rules)
			}
		}
	}
	return nil
}

// add adds the rules for one call.
func (p *policy) add(row *syscallRow, rules []rule) {
	if number, ok := row.number(p.arch); ok {
		p.note(number)
		p.assign(number, rules...)
	}
	if p.arch.muxes {
		p.addSubcall(row.name, rules)
	}
}

// addSubcall adds the rules for the other way to make the named call, if there is one.
func (p *policy) addSubcall(name string, rules []rule) {
	sub, ok := subcallOf(name)
	if !ok {
		return
	}
	through, ok := lookup(sub.through)
	if !ok {
		return
	}
	number, _ := through.number(p.arch)
	for _, r := range rules {
		if r, ok := sub.translate(r, p.byDefault); ok {
			p.assign(number, r)
		}
	}
}

// note remembers that the profile names a number. Private calls are no measure of a profile's age.
func (p *policy) note(number uint32) {
	if number < armPrivate {
		p.newest = max(p.newest, number)
	}
}

// assign stores rules, without those that repeat the default.
func (p *policy) assign(number uint32, rules ...rule) {
	for _, r := range rules {
		if r.action != p.byDefault {
			p.places = append(p.places, uint64(number)<<32|uint64(len(p.rules)))
			p.rules = append(p.rules, r)
		}
	}
}

// calls yields each call that has rules, in ascending order.
func (p *policy) calls(yield func(number uint32, rules []rule) bool) {
	slices.Sort(p.places)
	sorted := make([]rule, len(p.places))
	for i, place := range p.places {
		sorted[i] = p.rules[uint32(place)]
	}
	for from, to := 0, 0; from < len(sorted); from = to {
		number := p.places[from] >> 32
		for to < len(sorted) && p.places[to]>>32 == number {
			to++
		}
		if !yield(uint32(number), sorted[from:to]) {
			return
		}
	}
}

// unlisted answers a call without rules.
func (p *policy) unlisted(number uint32) action {
	if p.newest > 0 && number > p.newest && !p.byDefault.permissive() {
		return actionNoSys
	}
	return p.byDefault
}
