package main

import (
	"fmt"
	"math"
)

// A target is a number to reach: that of bivouac's median in a contest, by itself or beside a peer's.
type target struct {
	contest string
	peer    string // empty: by itself, in the contest's unit
	limit   float64
	rule    rule
}

// A rule says how a median is held against a target. The zero value is atMost.
type rule int

const (
	atMost     rule = iota // no more than the limit, times what the peer needs
	atLeast                // no less
	addsAtMost             // no more than what the peer needs plus the limit, in the contest's unit
)

func (r rule) met(value, limit float64) bool {
	if r == atLeast {
		return value >= limit
	}
	return value <= limit
}

// sizeContest names what is no contest: the size of the executable, in MB.
const sizeContest = "size"

var targets = []target{
	{"start", nameCrun, 0.8, atMost},
	{"start", nameCrunMapped, 0.8, atMost},
	{"start", namePodman, 0.2, atMost},
	{"pull", namePodman, 0.7, atMost},
	{"memory", "", 100, atMost},
	{"again", "", 30, atMost},
	{sizeContest, "", 35, atMost},
	{"warm", nameBubblewrap, 2, atMost},
	{"fleet", namePodman, 0.2, atMost},
	{"exec", namePodman, 0.1, atMost},
	{"idle", "", 1, atMost},
	{"keeper", "", 25, atMost},
	{"throughput", nameDirect, 0.7, atLeast},
	{"latency", nameDirect, 100, addsAtMost},
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
			met := t.rule.met(value, t.limit)
			v.Value, v.Met = &value, &met
		}
		r.Verdicts = append(r.Verdicts, v)
	}
}

func (t target) describe(r *report) string {
	unit := "MB"
	if c := r.contest(t.contest); c != nil {
		unit = c.Unit
	}
	switch {
	case t.rule == addsAtMost:
		return fmt.Sprintf("%s, at most %.3g %s more than %s", t.contest, t.limit, unit, t.peer)
	case t.rule == atLeast:
		return fmt.Sprintf("%s, at least %.2g of %s", t.contest, t.limit, t.peer)
	case t.peer != "":
		return fmt.Sprintf("%s, at most %.2g of %s", t.contest, t.limit, t.peer)
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
	peer := c.row(t.peer)
	switch {
	case peer == nil:
		return math.NaN()
	case t.rule == addsAtMost:
		return c.first().Values.median() - peer.Values.median()
	}
	return c.ratio(peer)
}
