package seccomp

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// rule answers a call with an action if all its conditions hold.
type rule struct {
	action     action
	conditions []condition
}

// parseRules reads the rules that an entry of a profile sets for each of its syscalls: one, or, if several conditions
// test the same argument, one for each condition (as runc, for the sake of profiles written before rules could have
// several conditions).
func parseRules(call specs.LinuxSyscall) ([]rule, error) {
	act, err := parseAction(call.Action, call.ErrnoRet)
	if err != nil {
		return nil, err
	}
	conditions, overlap, err := parseConditions(call.Args)
	if err != nil {
		return nil, err
	}
	if !overlap {
		return []rule{{act, conditions}}, nil
	}
	rules := make([]rule, len(conditions))
	for i := range conditions {
		rules[i] = rule{act, conditions[i : i+1]}
	}
	return rules, nil
}

// parseConditions also says whether two of the conditions test the same argument.
func parseConditions(args []specs.LinuxSeccompArg) (conditions []condition, overlap bool, err error) {
	var seen [maxArguments]bool
	for i, arg := range args {
		c, err := parseCondition(arg)
		if err != nil {
			return nil, false, fmt.Errorf("args[%d]: %w", i, err)
		}
		overlap = overlap || seen[c.index]
		seen[c.index] = true
		conditions = append(conditions, c)
	}
	return conditions, overlap, nil
}

// entryError says in which entry of a profile an error is.
func entryError(i int, call specs.LinuxSyscall, err error) error {
	names := call.Names
	if len(names) > 3 {
		names = append(names[:3:3], "...")
	}
	return fmt.Errorf("syscalls[%d] (%s): %w", i, strings.Join(names, ", "), err)
}
