package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestTestOutputs(t *testing.T) {
	t.Setenv("GOCOVERDIR", "")
	dir := t.TempDir()
	for _, tt := range []struct {
		args        string
		files, dirs []string
		fuzz        bool
	}{
		{args: "-test.v -test.run=X"},
		{args: "-test.cpuprofile=cpu -test.trace tr", files: []string{dir + "/cpu", dir + "/tr"}},
		{args: "--test.memprofile=m -test.outputdir=/out", files: []string{"/out/m"}},
		{args: "-test.coverprofile=/w/c -test.testlogfile=/w/log", files: []string{"/w/c", "/w/log"}},
		{args: "-test.gocoverdir=" + dir + "/cov", dirs: []string{dir + "/cov"}},
		{args: "-test.artifacts=true -test.outputdir=" + dir, dirs: []string{dir + "/_artifacts"}},
		{args: "-test.artifacts=false"},
		{args: "-test.fuzz=Fuzz -test.fuzzcachedir=" + dir + "/fuzz", dirs: []string{dir + "/fuzz"}, fuzz: true},
		{args: "-- -test.cpuprofile=cpu"},
		{args: "test.cpuprofile=cpu"},
	} {
		o, err := testOutputs(strings.Fields(tt.args), dir)
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		if !slices.Equal(o.files, tt.files) || !slices.Equal(o.dirs, tt.dirs) || o.fuzz != tt.fuzz {
			t.Errorf("%s: %+v", tt.args, o)
		}
		for _, d := range o.dirs {
			if st, err := os.Stat(d); err != nil || !st.IsDir() {
				t.Errorf("%s: %v", tt.args, err)
			}
		}
	}
}

// TestViewOfAnImage shows what is bound, and how.
func TestViewOfAnImage(t *testing.T) {
	module := t.TempDir()
	pkg := filepath.Join(module, "pkg")
	if err := os.Mkdir(pkg, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCOVERDIR", "")
	const work = "/tmp/go-build123/b001"
	for _, tt := range []struct {
		args  string
		write bool
		want  string
	}{
		{work + "/pkg.test -test.testlogfile=" + work + "/log", false, "tmpfs:/tmp ro:M rw:" + work},
		{work + "/pkg.test", true, "tmpfs:/tmp ro:M rw:M/pkg rw:" + work},
		{work + "/pkg.test -test.cpuprofile=c -test.outputdir=" + module, false, "tmpfs:/tmp ro:M rw:" + work + " rw:M/c"},
		{"./pkg.test -test.cpuprofile=c", true, "tmpfs:/tmp ro:M rw:M/pkg"},
		{"sh -c true", false, "tmpfs:/tmp ro:M"},
	} {
		v := &testView{dir: pkg}
		if err := v.show(strings.Fields(tt.args), tt.write); err != nil {
			t.Errorf("%s: %v", tt.args, err)
		}
		if got := strings.ReplaceAll(describeMounts(v.mounts), module, "M"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.args, got, tt.want)
		}
		v.cleanUp()
	}
	if left, _ := filepath.Glob(filepath.Join(module, "c")); len(left) > 0 {
		t.Errorf("left %s", left)
	}
}

func describeMounts(mounts []sandbox.Mount) string {
	var texts []string
	for _, m := range mounts {
		switch {
		case m.Type == sandbox.MountTmpfs:
			texts = append(texts, "tmpfs:"+m.Target)
		case m.ReadOnly:
			texts = append(texts, "ro:"+m.Target)
		default:
			texts = append(texts, "rw:"+m.Target)
		}
	}
	return strings.Join(texts, " ")
}

func TestTestEnvironment(t *testing.T) {
	all := []string{"PATH=/usr/bin", "HOME=/home/me", "TMPDIR=/t", "GOFLAGS=-v", "X=1"}
	if got := testEnvironment(all, true); !slices.Equal(got, all) {
		t.Errorf("host: %q", got)
	}
	if got := testEnvironment(all, false); !slices.Equal(got, all[3:]) {
		t.Errorf("image: %q", got)
	}
}
