package seccomp

import (
	"fmt"
	"testing"

	"golang.org/x/net/bpf"
)

// TestBranchAtAnyDistance jumps to two labels around the limit of short jumps, where one detour pushes the other away.
func TestBranchAtAnyDistance(t *testing.T) {
	for apart := range 4 {
		for filler := 245; filler <= 260; filler++ {
			for _, equal := range []action{1, 2} {
				t.Run(fmt.Sprint(apart, filler, equal), func(t *testing.T) { tryBranch(t, apart, filler, equal) })
			}
		}
	}
}

// tryBranch has the label of action 1 farther away than that of action 2.
func tryBranch(t *testing.T, apart, filler int, equal action) {
	p := newProgram()
	labels := map[action]label{1: p.prepend(bpf.RetConstant{Val: 1})}
	fill(p, apart)
	labels[2] = p.prepend(bpf.RetConstant{Val: 2})
	fill(p, filler)
	p.load(offsetNumber, p.branch(bpf.JumpEqual, 7, labels[equal], labels[3-equal]))
	code, err := p.bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(code)
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[uint32]action{7: equal, 8: 3 - equal} {
		if got, _ := m.run(data{number: number}); got != want {
			t.Errorf("number %d: got %d, want %d", number, got, want)
		}
	}
}

func fill(p *program, n int) {
	for range n {
		p.prepend(bpf.RetConstant{Val: 3})
	}
}
