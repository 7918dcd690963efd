package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestContestsAreChosenByTheirKindToo(t *testing.T) {
	var c config
	if err := c.parse([]string{"-only", "clone", "-rounds", "3"}); err != nil {
		t.Fatal(err)
	}
	contests, chosen, err := c.choose(c.contests(&lab{}), targets)
	if err != nil {
		t.Fatal(err)
	}
	got := names(contests)
	if !slices.Contains(got, "clone-redis") || slices.Contains(got, "clones-redis-50") || slices.Contains(got, "clone-rabbitmq") {
		t.Errorf("got %v", got)
	}
	for _, one := range chosen {
		if !slices.Contains(got, one.contest) {
			t.Errorf("got a target for %s", one.contest)
		}
	}
}

func TestTheQuickestWayIsJudged(t *testing.T) {
	r := report{Contests: []results{{Name: "clone-x", Unit: "ms", Rows: []*row{
		{Name: nameBivouac, Values: sample{90}}, {Name: "bivouac, files", Values: sample{50}}, {Name: nameCold, Values: sample{10}},
	}}, {Name: "clone-y", Unit: "ms", Rows: []*row{
		{Name: nameBivouac, LeftOut: "no CRIU"}, {Name: "bivouac, files", Values: sample{50}},
	}}}}
	r.judge([]target{
		{"clone-x", "", 60, bestAtMost}, {"clone-x", "", 60, atMost}, {"clone-x", nameCold, 4, bestAtMost}, {"clone-y", "", 60, bestAtMost},
		{"clone-y", "", 60, atMost},
	})
	want := []string{
		"met        clone-x, the quickest way, at most 60 ms: 50",
		"not met    clone-x, at most 60 ms: 90",
		"not met    clone-x, the quickest way, at most 4 of cold start: 5",
		"met        clone-y, the quickest way, at most 60 ms: 50",
		"not known  clone-y, at most 60 ms",
	}
	for i, v := range r.Verdicts {
		if v.String() != want[i] {
			t.Errorf("got %q, want %q", v, want[i])
		}
	}
}

func TestWhatCannotBeMeasuredHereIsLeftOut(t *testing.T) {
	l := &lab{ctx: t.Context()}
	r := &row{Name: nameBivouac, contender: &contender{ours: true}}
	if err := r.fail(l, fmt.Errorf("prepare: %w", &leftOutError{errors.New("no CRIU")})); err != nil || r.LeftOut != "prepare: no CRIU" {
		t.Errorf("got %v, %q", err, r.LeftOut)
	}
	if err := r.fail(l, errors.New("it crashed")); err == nil {
		t.Error("got no error")
	}
}

func TestLeaks(t *testing.T) {
	before := traces{{what: "processes", count: 3}, {what: "descriptors", count: 2, names: []string{"a", "b"}}, {what: "threads", count: 5, varies: true}}
	after := traces{{what: "processes", count: 2}, {what: "descriptors", count: 4, names: []string{"b", "pipe", "b", "a"}}, {what: "threads", count: 9, varies: true}}
	if got := strings.Join(before.leaks(after), "; "); got != "2 descriptors (pipe, b)" {
		t.Errorf("got %q", got)
	}
	if got := before.leaks(before); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestPipesWithBothEndsAreNoDescriptorsLeft(t *testing.T) {
	others, pipes := splitPipes([]string{"pipe:[1]", "pipe:[2]", "net:[3]", "net:[3]", "pipe:[1]"})
	if !slices.Equal(others, []string{"pipe:[2]", "net:[3]", "net:[3]"}) || pipes != 1 {
		t.Errorf("got %v, %d", others, pipes)
	}
}
