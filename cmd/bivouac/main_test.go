package main

import (
	"os"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the command: under that name in scripts, and under any in the parts that the command
// starts itself for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"keeper", "init", "probe"}, os.Args[1]) {
		os.Exit(realMain())
	}
	testscript.Main(m, map[string]func(){"bivouac": func() { os.Exit(realMain()) }})
}
