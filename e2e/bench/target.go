package main

import (
	"fmt"
	"math"
)

// A target is a number to reach: that of bivouac's median in a contest, in proportion to a peer's or by itself.
type target struct {
	contest string
	peer    string  // empty: by itself, in the contest's unit
	limit   float64 // what meets the target is at most this
}

// sizeContest names what is no contest: the size of the executable, in MB.
const sizeContest = "size"

var targets = []target{
	{"start", nameCrun, 0.8},
	{"start", namePodman, 0.2},
	{"pull", namePodman, 0.7},
	{"memory", "", 100},
	{"again", "", 30},
	{sizeContest, "", 35},
}

// A verdict says whether a target is met.
type verdict struct {
	Target string   `json:"target"`
	Value  *float64 `json:"value"` // null: not measured
	Met    *bool    `json:"met"`   // null: not known
}

func (v verdict) String() string {
	if v.Value == nil {
		return "not known  " + v.Target
	}
	word := "not met"
	if *v.Met {
		word = "met"
	}
	return fmt.Sprintf("%-9s  %s: %.3g", word, v.Target, *v.Value)
}

// judge compares a report with targets.
func (r *report) judge(targets []target) {
	for _, t := range targets {
		v := verdict{Target: t.describe(r)}
		if value := t.value(r); !math.IsNaN(value) {
			met := value <= t.limit
			v.Value, v.Met = &value, &met
		}
		r.Verdicts = append(r.Verdicts, v)
	}
}

func (t target) describe(r *report) string {
	if t.peer != "" {
		return fmt.Sprintf("%s, at most %.2g of %s", t.contest, t.limit, t.peer)
	}
	unit := "MB"
	if c := r.contest(t.contest); c != nil {
		unit = c.Unit
	}
	return fmt.Sprintf("%s, at most %.3g %s", t.contest, t.limit, unit)
}

// value is NaN where something was not measured.
func (t target) value(r *report) float64 {
	if t.contest == sizeContest {
		return r.Size
	}
	c := r.contest(t.contest)
	switch {
	case c == nil:
		return math.NaN()
	case t.peer == "":
		return c.first().Values.median()
	}
	if peer := c.row(t.peer); peer != nil {
		return c.ratio(peer)
	}
	return math.NaN()
}
