package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func exampleReport() *report {
	return &report{
		Size: 22.9,
		Contests: []results{
			{Name: "start", Title: "start", Unit: "ms", Rows: []*row{
				{Name: nameBivouac, Values: sample{9, 10, 11}},
				{Name: nameCrun, Values: sample{20, 20, 20}, About: "masks"},
				{Name: namePodman, LeftOut: "podman is not installed"},
			}},
			{Name: "memory", Title: "memory", Unit: "MB", Rows: []*row{
				{Name: nameBivouac, Values: sample{120}, Largest: sample{80}, ByRSS: []string{"newuidmap"}},
			}},
		},
	}
}

func TestJudge(t *testing.T) {
	r := exampleReport()
	r.judge([]target{
		{"start", nameCrun, 0.8, atMost}, {"start", nameCrun, 0.4, atMost}, {"start", namePodman, 0.2, atMost},
		{"memory", "", 100, atMost}, {"pull", namePodman, 0.7, atMost}, {sizeContest, "", 35, atMost},
		{"start", nameCrun, 0.4, atLeast}, {"start", nameCrun, 0.6, atLeast},
		{"start", nameCrun, 5, addsAtMost}, {"start", nameCrun, -15, addsAtMost}, {"start", namePodman, 5, addsAtMost},
	})
	want := []string{
		"met        start, at most 0.8 of crun: 0.5",
		"not met    start, at most 0.4 of crun: 0.5",
		"not known  start, at most 0.2 of podman",
		"not met    memory, at most 100 MB: 120",
		"not known  pull, at most 0.7 of podman",
		"met        size, at most 35 MB: 22.9",
		"met        start, at least 0.4 of crun: 0.5",
		"not met    start, at least 0.6 of crun: 0.5",
		"met        start, at most 5 ms more than crun: -10",
		"not met    start, at most -15 ms more than crun: -10",
		"not known  start, at most 5 ms more than podman",
	}
	for i, v := range r.Verdicts {
		if v.String() != want[i] {
			t.Errorf("got %q, want %q", v, want[i])
		}
	}
}

func TestPrint(t *testing.T) {
	var out strings.Builder
	r := exampleReport()
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `
start, in ms
           n  median   p10   p90  bivouac/it
  bivouac  3    10.0   9.2  10.8
  crun     3    20.0  20.0  20.0        0.50
  crun: masks
  podman left out: podman is not installed

memory, in MB
           n  median    p10    p90  bivouac/it  largest process (max RSS)
  bivouac  1   120.0  120.0  120.0                                   80.0
  bivouac: counted by RSS: newuidmap
`
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	if got := strings.Join(lines, "\n"); !strings.Contains(got, want) {
		t.Errorf("got %s", got)
	}
}

func TestPublishKeepsEveryMeasurement(t *testing.T) {
	r, file := exampleReport(), filepath.Join(t.TempDir(), "report.json")
	r.judge([]target{{"start", namePodman, 0.2, atMost}})
	if err := r.publish(&strings.Builder{}, file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if values := got.Contests[0].Rows[0].Values; len(values) != 3 || values[0] != 9 {
		t.Errorf("got %v", values)
	}
	if v := got.Verdicts[0]; v.Met != nil || v.Value != nil {
		t.Errorf("something is known that was not measured: %v", v)
	}
}

func TestRatioOfNothingIsNotKnown(t *testing.T) {
	r := exampleReport().Contests[0]
	if got := r.ratio(r.row(namePodman)); !math.IsNaN(got) {
		t.Errorf("got %v", got)
	}
}
