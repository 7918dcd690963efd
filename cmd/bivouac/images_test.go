package main

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs"
)

var summaries = []rootfs.Summary{
	{
		Name: "docker.io/library/alpine:3.20", Repository: "alpine", Tag: "3.20", ID: digest.FromString("a"), Digest: digest.FromString("A"),
		Platform: "linux/amd64", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Size: 3_628_000,
	}, {
		Name: "localhost:5000/team/app@sha256:0", Repository: "localhost:5000/team/app", Tag: "<none>", ID: digest.FromString("b"),
		Digest: digest.FromString("B"), Platform: "linux/arm64/v8", Size: 12,
	},
}

func TestImagesOutput(t *testing.T) {
	now := time.Date(2026, 1, 12, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name  string
		flags imagesFlags
		want  string
	}{
		{"table", imagesFlags{}, `
REPOSITORY                TAG       IMAGE ID       CREATED       SIZE
alpine                    3.20      ca978112ca1b   10 days ago   3.63MB
localhost:5000/team/app   <none>    3e23e8160039   N/A           12B
`},
		{"table by name", imagesFlags{format: "table"}, `
REPOSITORY                TAG       IMAGE ID       CREATED       SIZE
alpine                    3.20      ca978112ca1b   10 days ago   3.63MB
localhost:5000/team/app   <none>    3e23e8160039   N/A           12B
`},
		{"own table", imagesFlags{format: `table {{.Platform}}\t{{.Digest}}`}, `
PLATFORM         DIGEST
linux/amd64      sha256:559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd
linux/arm64/v8   sha256:df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c
`},
		{"quiet", imagesFlags{quiet: true}, "\nca978112ca1b\n3e23e8160039\n"},
		{"quiet and whole", imagesFlags{quiet: true, noTrunc: true}, `
sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb
sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d
`},
		{"a format wins over quiet", imagesFlags{quiet: true, format: "{{.Tag}}"}, "\n3.20\n<none>\n"},
		{"json", imagesFlags{format: "json"}, `
{"ID":"ca978112ca1b","Repository":"alpine","Tag":"3.20","Digest":"sha256:559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd","CreatedSince":"10 days ago","CreatedAt":"2026-01-02 03:04:05 +0000 UTC","Size":"3.63MB","Platform":"linux/amd64","Name":"docker.io/library/alpine:3.20"}
{"ID":"3e23e8160039","Repository":"localhost:5000/team/app","Tag":"<none>","Digest":"sha256:df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c","CreatedSince":"N/A","CreatedAt":"N/A","Size":"12B","Platform":"linux/arm64/v8","Name":"localhost:5000/team/app@sha256:0"}
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			zone := time.Local
			time.Local = time.UTC
			defer func() { time.Local = zone }()
			var out strings.Builder
			if err := test.flags.write(&out, test.flags.rows(summaries, now)); err != nil {
				t.Fatal(err)
			}
			if "\n"+out.String() != test.want {
				t.Errorf("got\n%s\nwant%s", out.String(), test.want)
			}
		})
	}
}

func TestImagesWithDigests(t *testing.T) {
	f := imagesFlags{digests: true}
	var out strings.Builder
	if err := f.write(&out, f.rows(summaries[:1], time.Now())); err != nil {
		t.Fatal(err)
	}
	if header, _, _ := strings.Cut(out.String(), "\n"); strings.Join(strings.Fields(header), " ") != "REPOSITORY TAG DIGEST IMAGE ID CREATED SIZE" {
		t.Errorf("header is %q", header)
	}
}

func TestMatchesAny(t *testing.T) {
	for _, test := range []struct {
		pattern       string
		alpine, other bool
	}{
		{"alpine", true, false},
		{"alpine:3.20", true, false},
		{"alpine:3.*", true, false},
		{"alpine:3.2", false, false},
		{"alp", false, false},
		{"*", true, false},
		{"*/*/*", true, true},
		{"docker.io/library/alpine", true, false},
		{"docker.io/library/alpine:3.20", true, false},
		{"localhost:5000/*/app", false, true},
	} {
		patterns := []string{test.pattern}
		if got := matchesAny(summaries[0], patterns); got != test.alpine {
			t.Errorf("%q matches alpine: %v", test.pattern, got)
		}
		if got := matchesAny(summaries[1], patterns); got != test.other {
			t.Errorf("%q matches the other: %v", test.pattern, got)
		}
	}
	if !matchesAny(summaries[0], nil) || !matchesAny(summaries[0], []string{"no", "alpine"}) {
		t.Error("no pattern, or the second one, does not match")
	}
}

func TestImageFilters(t *testing.T) {
	t.Setenv("BIVOUAC_HOME", t.TempDir())
	now := time.Now()
	made := rootfs.Summary{Name: "docker.io/library/a:1", Repository: "a", Tag: "1", Named: true, Created: now.Add(-time.Hour), Labels: map[string]string{"x": "y"}}
	for filter, want := range map[string]string{
		"reference=a*": "yes", "reference=b": "no", "reference=": "bad", "reference": "bad", "reference=[": "bad", "since=x": "bad", "colour=red": "bad",
		"dangling=false": "yes", "dangling=true": "no", "dangling=perhaps": "bad", "label=x": "yes", "label=x=y": "yes", "label=x=z": "no",
		"until=30m": "yes", "until=2h": "no", "until=then": "bad",
	} {
		chosen, err := parseFilters([]string{filter}, "reference", "dangling", "label", "before", "since", "until")
		var fits func(rootfs.Summary) bool
		if err == nil {
			fits, err = chosen.images(nil, now)
		}
		got := "bad"
		if err == nil {
			got = map[bool]string{true: "yes", false: "no"}[fits(made)]
		}
		if got != want {
			t.Errorf("%q: %s, %v", filter, got, err)
		}
	}
}

func TestHostileNamesInTables(t *testing.T) {
	f := imagesFlags{}
	rows := f.rows([]rootfs.Summary{{Repository: "a\x1b[2J\nb", Tag: "\u202e"}}, time.Now())
	if rows[0].Repository != "a[2J b" || rows[0].Tag != "" {
		t.Errorf("got %q %q", rows[0].Repository, rows[0].Tag)
	}
}
