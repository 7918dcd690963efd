package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestForEachGoesOn(t *testing.T) {
	failures := map[string]error{"b": sandbox.Errorf(sandbox.CodeNotFound, "no b"), "c": errors.New("bad\nc"), "d": sandbox.Errorf(sandbox.CodeInUse, "d is used")}
	for names, want := range map[string]struct {
		exit   int
		stderr string
	}{
		"a": {0, ""}, "b": {21, "bivouac: no b\n"}, "a b e": {21, "bivouac: no b\n"},
		"a b c d e": {21, "bivouac: no b\nbivouac: bad c\nbivouac: d is used\n"}, "d b": {58, "bivouac: d is used\nbivouac: no b\n"},
	} {
		var stderr strings.Builder
		var seen []string
		err := forEach(&stderr, strings.Fields(names), func(name string) error {
			seen = append(seen, name)
			return failures[name]
		})
		if exit := conclude(&stderr, "rm", err); exit != want.exit || stderr.String() != want.stderr || strings.Join(seen, " ") != names {
			t.Errorf("%s: %d, %q, did %q", names, exit, stderr.String(), seen)
		}
	}
}

func TestUsageErrorSaysWhyOnce(t *testing.T) {
	cmd := &cobra.Command{Use: "stop"}
	cmd.Flags().Int("time", 0, "")
	err := asUsageError(cmd, cmd.ParseFlags([]string{"--time", "x"}))
	if want := `invalid argument "x" for "--time" flag: invalid syntax; see "stop --help"`; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
