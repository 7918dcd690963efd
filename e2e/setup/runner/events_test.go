package main

import (
	"slices"
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"hello\n"}
{"Action":"pass","Test":"TestA"}
{"Action":"run","Test":"TestB"}
{"Action":"output","Test":"TestB","Output":"why\n"}
{"Action":"skip","Test":"TestB"}
no event at all
{"Action":"run","Test":"TestC"}
{"Action":"output","Test":"TestC","Output":"never ends\n"}
{"Action":"fail","Package":"p"}`
	results, rest := readEvents(strings.NewReader(events))
	want := []result{
		{test: "TestA", status: passed, output: "hello\n"},
		{test: "TestB", status: skipped, output: "why\n"},
		{test: "TestC", status: failed, output: "never ends\n"},
	}
	if !slices.Equal(results, want) {
		t.Errorf("got %v, want %v", results, want)
	}
	if rest != "no event at all\n" {
		t.Errorf("got rest %q", rest)
	}
}

func TestTrimKeepsBothEnds(t *testing.T) {
	got := trim("begin" + strings.Repeat("x", 2*maxOutput) + "end")
	if len(got) > maxOutput+100 || !strings.HasPrefix(got, "begin") || !strings.HasSuffix(got, "end") {
		t.Errorf("got %d bytes, %q to %q", len(got), got[:10], got[len(got)-10:])
	}
}

func TestWithoutParents(t *testing.T) {
	results := []result{
		{test: "TestA/one", status: passed},
		{test: "TestA/two", status: failed},
		{test: "TestA", status: failed},
		{test: "TestB/one", status: passed},
		{test: "TestB", status: failed}, // failed by itself
		{test: "TestSpecs", status: passed, output: "Running Suite: x\n"},
		{test: "Spec/works", status: passed},
	}
	var got []string
	for _, r := range withoutParents(results) {
		got = append(got, r.test)
	}
	if want := []string{"TestA/one", "TestA/two", "TestB/one", "TestB", "Spec/works"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
