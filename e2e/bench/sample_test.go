package main

import (
	"math"
	"slices"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		sample sample
		part   float64
		want   float64
	}{
		{sample{7}, 0.1, 7},
		{sample{7}, 0.9, 7},
		{sample{3, 1, 2}, 0.5, 2},
		{sample{4, 1, 3, 2}, 0.5, 2.5},
		{sample{5, 4, 3, 2, 1}, 0, 1},
		{sample{5, 4, 3, 2, 1}, 1, 5},
		{sample{10, 20, 30, 40, 50}, 0.1, 14}, // R: quantile(c(10, 20, 30, 40, 50), 0.1)
		{sample{10, 20, 30, 40, 50}, 0.9, 46},
	} {
		before := slices.Clone(test.sample)
		if got := test.sample.quantile(test.part); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%v at %v: got %v, want %v", test.sample, test.part, got, test.want)
		}
		if !slices.Equal(test.sample, before) {
			t.Errorf("%v was reordered: the order of the rounds is lost", before)
		}
	}
	if got := (sample{}).median(); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %v", got)
	}
}
