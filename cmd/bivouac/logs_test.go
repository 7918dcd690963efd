package main

import (
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func entries(err error, list ...sandbox.LogEntry) iter.Seq2[sandbox.LogEntry, error] {
	return func(yield func(sandbox.LogEntry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(sandbox.LogEntry{}, err)
		}
	}
}

func TestLogsGoWhereTheyCameFrom(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600))
	list := []sandbox.LogEntry{
		{Time: at, Stream: sandbox.StreamOutput, Text: []byte("half \xff")},
		{Time: at, Stream: sandbox.StreamError, Text: []byte("error\n")},
		{Time: at, Stream: sandbox.StreamOutput, Text: []byte("line\n"), Continues: true},
		{Time: at, Stream: sandbox.StreamOutput, Text: []byte("\x1b[1mbold\n"), Lost: 2000},
	}
	for _, test := range []struct {
		flags     logsFlags
		out, errs string
	}{
		{logsFlags{}, "half \xffline\n\x1b[1mbold\n", "error\nbivouac: 2kB of output could not be kept here: the disk was full\n"},
		{logsFlags{timestamps: true},
			"2030-01-02T02:04:05.000000600Z half \xffline\n2030-01-02T02:04:05.000000600Z \x1b[1mbold\n",
			"2030-01-02T02:04:05.000000600Z error\nbivouac: 2kB of output could not be kept here: the disk was full\n"},
	} {
		var out, errs strings.Builder
		if err := test.flags.print(&out, &errs, entries(nil, list...)); err != nil {
			t.Fatal(err)
		}
		if out.String() != test.out || errs.String() != test.errs {
			t.Errorf("%+v: %q, %q", test.flags, out.String(), errs.String())
		}
	}
	cut := errors.New("cut")
	if err := (&logsFlags{}).print(&strings.Builder{}, &strings.Builder{}, entries(cut, list...)); !errors.Is(err, cut) {
		t.Errorf("got %v", err)
	}
}

func TestWhichLogs(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for since, want := range map[string]time.Time{
		"":                               {},
		"90s":                            now.Add(-90 * time.Second),
		"1h30m":                          now.Add(-90 * time.Minute),
		"0":                              now,
		"1900000000":                     time.Unix(1900000000, 0),
		"1900000000.5":                   time.Unix(1900000000, 5e8),
		"2030-01-02T01:02:03Z":           time.Date(2030, 1, 2, 1, 2, 3, 0, time.UTC),
		"2030-01-02T01:02:03.000000004Z": time.Date(2030, 1, 2, 1, 2, 3, 4, time.UTC),
		"2030-01-02T01:02:03+02:00":      time.Date(2030, 1, 1, 23, 2, 3, 0, time.UTC),
		"2030-01-02T01:02:03":            time.Date(2030, 1, 2, 1, 2, 3, 0, time.Local),
		"2030-01-02":                     time.Date(2030, 1, 2, 0, 0, 0, 0, time.Local),
	} {
		spec, err := (&logsFlags{tail: "all", since: since}).spec(now)
		if err != nil || !spec.Since.Equal(want) || spec.Tail != nil || spec.Follow {
			t.Errorf("%q: %+v, %v", since, spec, err)
		}
	}
	spec, err := (&logsFlags{tail: "7", follow: true}).spec(now)
	if err != nil || *spec.Tail != 7 || !spec.Follow {
		t.Errorf("%+v, %v", spec, err)
	}
	if spec, err = (&logsFlags{tail: "-1"}).spec(now); err != nil || spec.Tail != nil {
		t.Errorf("%+v, %v", spec, err)
	}
	for _, f := range []logsFlags{{tail: ""}, {tail: "few"}, {tail: "all", since: "yesterday"}, {tail: "all", since: "1e300"}} {
		if _, err := f.spec(now); exitCodeOf(err) != exitUsage {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
