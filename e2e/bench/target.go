package main

import (
	"fmt"
	"math"
	"strings"
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
	bestAtMost             // no more than the limit, times what the peer needs, by the quickest of bivouac's ways but the cold start
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
	{cloneContest(redisName), "", 20, atMost},
	{cloneContest(nginxName), "", 25, atMost},
	{cloneContest(nodeName), "", 35, atMost},
	{cloneContest(javaName), nameCold, 0.2, atMost},
	{cloneContest(postgresName), "", 60, bestAtMost},
	{cloneContest(postgresName), nameCold, 0.1, bestAtMost},
	{cloneContest(rabbitName), nameCold, 0.05, atMost},
	{clonesContest(postgresName, 10), "", 500, bestAtMost},
	{clonesContest(redisName, 50), "", 700, atMost},
	{clonesContest(redisName, 150), "", 2000, atMost},
	{"clonesmemory", "", 5, atMost},
	{"pool", "", 3, atMost},
	{"ps", "", 50, atMost},
	{"build", nameBuildah, 0.8, atMost},
	{"rebuild", nameBuildah, 0.3, atMost},
	{"commit", nameTar, 1.3, atMost},
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
	case t.rule == bestAtMost && t.peer != "":
		return fmt.Sprintf("%s, the quickest way, at most %.2g of %s", t.contest, t.limit, t.peer)
	case t.rule == bestAtMost:
		return fmt.Sprintf("%s, the quickest way, at most %.3g %s", t.contest, t.limit, unit)
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
		return t.ours(c)
	}
	peer := c.row(t.peer)
	switch {
	case peer == nil:
		return math.NaN()
	case t.rule == addsAtMost:
		return t.ours(c) - peer.Values.median()
	}
	return t.ours(c) / peer.Values.median()
}

// ours is bivouac's median.
func (t target) ours(c *results) float64 {
	best := c.first().Values.median()
	for _, one := range c.Rows[1:] {
		value := one.Values.median()
		if t.rule == bestAtMost && strings.HasPrefix(one.Name, nameBivouac) && (value < best || math.IsNaN(best)) {
			best = value
		}
	}
	return best
}
