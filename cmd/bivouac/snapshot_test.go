package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// fakeSnapshots is a store in memory. What it exports is the snapshot's name.
type fakeSnapshots struct {
	list    []sandbox.Snapshot
	removed []string
	cut     error // how an export ends
}

func (f *fakeSnapshots) Snapshots(context.Context) ([]sandbox.Snapshot, error) { return f.list, nil }

func (f *fakeSnapshots) Snapshot(_ context.Context, name string) (sandbox.Snapshot, error) {
	for _, s := range f.list {
		if s.Name == name {
			return s, nil
		}
	}
	return sandbox.Snapshot{}, sandbox.Errorf(sandbox.CodeNotFound, "find snapshot %q", name)
}

func (f *fakeSnapshots) RemoveSnapshot(ctx context.Context, name string) error {
	if _, err := f.Snapshot(ctx, name); err != nil {
		return err
	}
	f.removed = append(f.removed, name)
	return nil
}

func (f *fakeSnapshots) ExportSnapshot(ctx context.Context, name string) (io.ReadCloser, error) {
	if _, err := f.Snapshot(ctx, name); err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(strings.NewReader(name), cutReader{f.cut})), nil
}

type cutReader struct{ err error }

func (c cutReader) Read([]byte) (int, error) {
	if c.err == nil {
		return 0, io.EOF
	}
	return 0, c.err
}

func (f *fakeSnapshots) ImportSnapshot(_ context.Context, tar io.Reader, name string) (sandbox.Snapshot, error) {
	text, err := io.ReadAll(tar)
	if name == "" {
		name = string(text)
	}
	return sandbox.Snapshot{ID: strings.Repeat("0a", 32), Name: name, Tier: sandbox.TierFiles, Quality: sandbox.QualityClean}, err
}

func twoSnapshots(now time.Time) *fakeSnapshots {
	return &fakeSnapshots{list: []sandbox.Snapshot{
		{ID: strings.Repeat("0a", 32), Name: "ready", Image: sandbox.ImageInfo{Name: "docker.io/library/redis:7"}, Tier: sandbox.TierProcesses,
			Quality: sandbox.QualityLive, Processes: 3, Size: 2_900_000, Created: now.Add(-3 * time.Hour), Used: now.Add(-time.Minute)},
		{ID: strings.Repeat("1b", 32), Image: sandbox.ImageInfo{Name: "host:"}, Tier: sandbox.TierFiles, Quality: sandbox.QualityClean, Key: "\x1bk", Created: now.Add(-24 * 7 * time.Hour)},
	}}
}

func TestSnapshotsAreListed(t *testing.T) {
	for _, test := range []struct {
		flags snapshotLsFlags
		want  string
	}{
		{snapshotLsFlags{}, `NAME      SNAPSHOT ID    IMAGE     TIER        SIZE      CREATED       USED
ready     0a0a0a0a0a0a   redis:7   processes   2.9MB     3 hours ago   About a minute ago
          1b1b1b1b1b1b   host:     files       0B        7 days ago    never
`},
		{snapshotLsFlags{quiet: true}, "0a0a0a0a0a0a\n1b1b1b1b1b1b\n"},
		{snapshotLsFlags{quiet: true, noTrunc: true}, strings.Repeat("0a", 32) + "\n" + strings.Repeat("1b", 32) + "\n"},
		{snapshotLsFlags{format: "{{.Name}}/{{.Quality}}/{{.Processes}}/{{.Key}}"}, "ready/live/3/\n/clean/0/k\n"},
		{snapshotLsFlags{format: `table {{.Tier}}\t{{.UsedAt}}`}, ""},
	} {
		var out strings.Builder
		if err := test.flags.run(t.Context(), &out, twoSnapshots(time.Now())); err != nil || test.want != "" && out.String() != test.want {
			t.Errorf("%+v: got\n%s%v", test.flags, out.String(), err)
		}
	}
	f := snapshotLsFlags{format: "{{.Nope}}"}
	if err := f.run(t.Context(), io.Discard, &fakeSnapshots{}); exitCodeOf(err) != exitUsage || !strings.Contains(err.Error(), ".Tier") {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotsAreInspected(t *testing.T) {
	var out strings.Builder
	if err := inspectSnapshots(t.Context(), &out, twoSnapshots(time.Now()), "", []string{"ready", "ready"}); err != nil {
		t.Fatal(err)
	}
	var back []sandbox.Snapshot
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || len(back) != 2 || back[0].Processes != 3 {
		t.Errorf("%v, %+v", err, back)
	}
	out.Reset()
	err := inspectSnapshots(t.Context(), &out, twoSnapshots(time.Now()), "{{.Tier}} {{.Image.Name}}", []string{"ready"})
	if err != nil || out.String() != "processes docker.io/library/redis:7\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	out.Reset()
	err = inspectSnapshots(t.Context(), &out, twoSnapshots(time.Now()), "", []string{"ready", "none"})
	if sandbox.CodeOf(err) != sandbox.CodeNotFound || out.String() != "" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestSnapshotsAreRemoved(t *testing.T) {
	f := twoSnapshots(time.Now())
	err := removeSnapshots(t.Context(), f, []string{"none", "ready"})
	if exitCodeOf(err) != 21 || len(f.removed) != 1 {
		t.Errorf("got %v, removed %q", err, f.removed)
	}
}

func TestSnapshotsAreExported(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.tar")
	f := twoSnapshots(time.Now())
	var out strings.Builder
	if err := errors.Join(exportSnapshot(t.Context(), &out, f, "ready", "-"), exportSnapshot(t.Context(), &out, f, "ready", file)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "ready" || out.String() != "ready" {
		t.Errorf("got %q and %q, %v", text, out.String(), err)
	}
	f.cut = sandbox.Errorf(sandbox.CodeStale, "damaged")
	for name, code := range map[string]sandbox.Code{"none": sandbox.CodeNotFound, "ready": sandbox.CodeStale} {
		if err := exportSnapshot(t.Context(), io.Discard, f, name, file+".2"); sandbox.CodeOf(err) != code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestSnapshotsAreImported(t *testing.T) {
	for name, want := range map[string]string{"": "theirs\n", "mine": "mine\n"} {
		var out strings.Builder
		if err := importSnapshot(t.Context(), &out, &fakeSnapshots{}, strings.NewReader("theirs"), name); err != nil || out.String() != want {
			t.Errorf("got %q, %v", out.String(), err)
		}
	}
	if _, err := openImport([]string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
