package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadSkips(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skips.txt")
	text := "# a comment\n\nrootfs TestA mapped a reason of words\ne2e Spec/a_spec any other\n" +
		"e2e Spec/b any $LACKS_IT lacks it\ne2e Spec/c any $HAS_IT has it\n"
	t.Setenv("LACKS_IT", "some reason")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readSkips(path)
	want := []skip{
		{suite: "rootfs", test: "TestA", kind: "mapped", reason: "a reason of words", line: 3},
		{suite: "e2e", test: "Spec/a_spec", kind: "any", reason: "other", line: 4},
		{suite: "e2e", test: "Spec/b", kind: "any", variable: "LACKS_IT", reason: "lacks it", line: 5},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestParseSkipRefuses(t *testing.T) {
	for _, text := range []string{"rootfs TestA mapped", "rootfs TestA root no such kind", "rootfs TestA any $VARIABLE"} {
		if _, err := parseSkip(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestForbid(t *testing.T) {
	skips := []skip{
		{suite: "rootfs", test: "TestA", kind: "mapped"}, {suite: "rootfs", test: "TestB", kind: "any"},
		{suite: "rootfs", test: "*/mapped", kind: "single"},
	}
	for _, c := range []struct {
		name   string
		result result
		want   status
	}{
		{"listed", result{suite: "rootfs", test: "TestA", kind: "mapped", status: skipped}, skipped},
		{"listed for any", result{suite: "rootfs", test: "TestB", kind: "single", status: skipped}, skipped},
		{"listed for others", result{suite: "rootfs", test: "TestA", kind: "single", status: skipped}, failed},
		{"other package", result{suite: "userns", test: "TestB", kind: "single", status: skipped}, failed},
		{"subtest", result{suite: "rootfs", test: "TestB/x", kind: "single", status: skipped}, failed},
		{"pattern", result{suite: "rootfs", test: "TestC/mapped", kind: "single", status: skipped}, skipped},
		{"deeper than the pattern", result{suite: "rootfs", test: "TestC/d/mapped", kind: "single", status: skipped}, failed},
		{"listed but passed", result{suite: "rootfs", test: "TestA", kind: "mapped", status: passed}, passed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := forbid([]result{c.result}, skips)[0].status; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	used := skip{suite: "rootfs", test: "TestA", kind: "any"}
	unused := skip{suite: "rootfs", test: "TestB", kind: "any"}
	results := []result{
		{suite: "rootfs", test: "TestA", kind: "single", status: skipped},
		{suite: "rootfs", test: "TestB", kind: "single", status: passed},
	}
	if got := idle([]skip{used, unused}, results); !slices.Equal(got, []skip{unused}) {
		t.Errorf("got %v", got)
	}
}

// The list in the repository must always be readable, also in a run that is narrowed down.
func TestListInRepository(t *testing.T) {
	skips, err := readSkips(filepath.Join("..", "..", "skips.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range skips {
		if len(strings.Fields(s.reason)) < 3 {
			t.Errorf("line %d: %q is no reason", s.line, s.reason)
		}
	}
}
