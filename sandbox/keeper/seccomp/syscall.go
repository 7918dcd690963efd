package seccomp

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// syscallRow is one syscall: its name and its number on each architecture, -1 where there is none.
type syscallRow struct {
	name    string
	numbers [architectures]int32
}

// lookup finds a syscall by name.
func lookup(name string) (*syscallRow, bool) {
	low, high := 0, len(syscallTable)
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch order := strings.Compare(syscallTable[middle].name, name); {
		case order == 0:
			return &syscallTable[middle], true
		case order < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil, false
}

// number returns the syscall's number on an architecture.
func (r *syscallRow) number(a arch) (uint32, bool) {
	number := r.numbers[a.column]
	return uint32(number), number >= 0
}

// Unknown lists the syscalls that a profile names and this package does not know on any architecture it supports,
// sorted: calls of other machines, calls too new, and misspellings. [Compile] skips their rules.
func Unknown(p *specs.LinuxSeccomp) []string {
	var unknown []string
	for _, call := range p.Syscalls {
		for _, name := range call.Names {
			if _, ok := lookup(name); !ok {
				unknown = append(unknown, name)
			}
		}
	}
	slices.Sort(unknown)
	return slices.Compact(unknown)
}
