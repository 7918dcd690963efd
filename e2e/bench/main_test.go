package main

import (
	"slices"
	"strings"
	"testing"
)

func names(contests []contest) (all []string) {
	for _, one := range contests {
		all = append(all, one.name)
	}
	return all
}

func TestOnlyChosenContestsAreHeldAndJudged(t *testing.T) {
	var c config
	if err := c.parse([]string{"-only", "exec,start", "-rounds", "3"}); err != nil {
		t.Fatal(err)
	}
	contests, chosen, err := c.choose(c.contests(&lab{}), targets)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(contests); !slices.Equal(got, []string{"start", "exec"}) {
		t.Errorf("got %v", got)
	}
	for _, one := range chosen {
		if one.contest != "start" && one.contest != "exec" {
			t.Errorf("got a target for %s", one.contest)
		}
	}
	if len(chosen) != 4 {
		t.Errorf("got %d targets: %v", len(chosen), chosen)
	}
}

func TestAnUnknownContestIsRefused(t *testing.T) {
	c := config{only: []string{"exec", "nothing"}}
	_, _, err := c.choose(c.contests(&lab{}), targets)
	if err == nil || !strings.Contains(err.Error(), `"nothing"`) || !strings.Contains(err.Error(), "throughput") {
		t.Errorf("got %v", err)
	}
}

func TestEveryTargetIsOfAContest(t *testing.T) {
	c := config{slow: true}
	all := append(names(c.contests(&lab{})), sizeContest)
	for _, one := range targets {
		if !slices.Contains(all, one.contest) {
			t.Errorf("there is no contest %q", one.contest)
		}
	}
}
