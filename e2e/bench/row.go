package main

import (
	"fmt"
	"slices"
)

// results are what came out of a contest.
type results struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	Rows  []*row `json:"rows"`
}

// first returns bivouac's row: that of the contender which peers are compared with.
func (r results) first() *row { return r.Rows[0] }

func (r results) row(name string) *row {
	i := slices.IndexFunc(r.Rows, func(one *row) bool { return one.Name == name })
	if i < 0 {
		return nil
	}
	return r.Rows[i]
}

// A row is what came out for one contender.
type row struct {
	Name    string `json:"name"`
	About   string `json:"about,omitempty"`
	Version string `json:"version,omitempty"`
	// LeftOut is why there are no measurements; empty if there are.
	LeftOut string   `json:"leftOut,omitempty"`
	Values  sample   `json:"values,omitempty"`
	Largest sample   `json:"largestProcess,omitempty"` // MB
	ByRSS   []string `json:"countedByRSS,omitempty"`

	contender *contender
}

func (r *row) admit(l *lab) error {
	if err := r.contender.get(l); err != nil {
		return r.fail(l, err)
	}
	r.Version = r.contender.versions(l)
	if r.contender.about != nil {
		r.About = r.contender.about()
	}
	return nil
}

// take measures once; a warm-up is forgotten.
func (r *row) take(l *lab, m meter, warmup bool) error {
	if r.LeftOut != "" {
		return nil
	}
	got, err := r.contender.measure(l, m)
	if err != nil {
		return r.fail(l, err)
	}
	if !warmup {
		r.add(got)
	}
	return nil
}

func (r *row) add(got reading) {
	r.Values = append(r.Values, got.value)
	if got.largest > 0 {
		r.Largest = append(r.Largest, got.largest)
	}
	r.ByRSS = slices.Compact(slices.Sorted(slices.Values(append(r.ByRSS, got.byRSS...))))
}

// fail leaves a peer out, or what cannot be measured here. The error is about bivouac or an interrupt.
func (r *row) fail(l *lab, err error) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	if r.contender.ours && !isLeftOut(err) {
		return fmt.Errorf("measure %s: %w", r.Name, err)
	}
	r.LeftOut, r.Values, r.Largest = err.Error(), nil, nil
	return nil
}

// ratio is how much bivouac needs in proportion to r; NaN if either was not measured.
func (r results) ratio(peer *row) float64 { return r.first().Values.median() / peer.Values.median() }
