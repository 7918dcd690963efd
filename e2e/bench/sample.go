package main

import (
	"math"
	"slices"
)

// A sample is what was measured of one contender, in the order of the rounds. The zero value is empty.
type sample []float64

// quantile returns the value below which a part of the sample lies, interpolated between the two nearest (type 7 of
// Hyndman and Fan, as in R). That of an empty sample is NaN.
func (s sample) quantile(part float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	at := part * float64(len(s)-1)
	low := int(at)
	high := min(low+1, len(s)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func (s sample) median() float64 { return s.quantile(0.5) }
