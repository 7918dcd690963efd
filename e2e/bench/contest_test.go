package main

import (
	"slices"
	"testing"
)

func TestOrderHasEveryoneOnce(t *testing.T) {
	for round := range 20 {
		got := slices.Sorted(slices.Values(order(round, 4)))
		if !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("round %d: got %v", round, got)
		}
	}
	if got := order(3, 0); len(got) != 0 {
		t.Errorf("nobody: got %v", got)
	}
}

func TestOrderIsFair(t *testing.T) {
	const n = 4
	firsts, pairs := map[int]int{}, map[[2]int]int{}
	for round := range 2 * n {
		turn := order(round, n)
		firsts[turn[0]]++
		for i := 1; i < n; i++ {
			pairs[[2]int{turn[i-1], turn[i]}]++
		}
	}
	for i := range n {
		if firsts[i] != 2 {
			t.Errorf("%d is first %d times of %d", i, firsts[i], 2*n)
		}
		after, before := pairs[[2]int{i, (i + 1) % n}], pairs[[2]int{(i + 1) % n, i}]
		if after != before {
			t.Errorf("%d runs %d times right after its neighbour, %d times right before", i, before, after)
		}
	}
}
