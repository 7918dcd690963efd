package main

import (
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestCheckpointFlags(t *testing.T) {
	for _, test := range []struct {
		flags checkpointFlags
		name  []string
		want  sandbox.CheckpointSpec
	}{
		{checkpointFlags{processes: "auto"}, nil, sandbox.CheckpointSpec{LeaveRunning: true}},
		{checkpointFlags{processes: "required", stop: true}, []string{"n"}, sandbox.CheckpointSpec{Name: "n", Processes: sandbox.ProcessesRequired}},
		{checkpointFlags{processes: "never", live: true, omitMounts: true, stopTimeout: time.Second}, nil, sandbox.CheckpointSpec{
			Processes: sandbox.ProcessesNever, Quality: sandbox.QualityLive, LeaveRunning: true, OmitMounts: true, StopTimeout: time.Second,
		}},
	} {
		if got, err := test.flags.spec(test.name); err != nil || got != test.want {
			t.Errorf("%+v: got %+v, %v", test.flags, got, err)
		}
	}
	for _, f := range []checkpointFlags{{}, {processes: "yes"}, {processes: "required", live: true}, {processes: "auto", stopTimeout: -1}} {
		if _, err := f.spec(nil); exitCodeOf(err) != exitUsage {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestWhatWasCheckpointed(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for note, s := range map[string]sandbox.Snapshot{
		"files and 1 process, 3MB":                             {Name: "ready", Tier: sandbox.TierProcesses, Processes: 1, Size: 3e6},
		"files and 7 processes, 3MB":                           {Tier: sandbox.TierProcesses, Processes: 7, Size: 3e6},
		"clean files without processes, 1kB":                   {Tier: sandbox.TierFiles, Quality: sandbox.QualityClean, Size: 1000},
		"live files without processes, 1kB: io_uring in [2Jdb": {Tier: sandbox.TierFiles, Quality: sandbox.QualityLive, Size: 1000, Fallback: "io_uring\nin \x1b[2Jdb"},
	} {
		s.ID = id
		want := id
		if s.Name != "" {
			want = s.Name
		}
		var out, notes strings.Builder
		if err := tellSnapshot(&out, &notes, s); err != nil || out.String() != want+"\n" || notes.String() != "bivouac: "+note+"\n" {
			t.Errorf("got %q, %q, %v; want %q", out.String(), notes.String(), err, note)
		}
	}
}
