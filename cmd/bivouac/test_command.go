package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// goCommand matches the go command, also by the names of golang.org/dl.
var goCommand = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^go(\d+(\.\d+)*(rc\d+|beta\d+)?|tip)?$`) })

// goTestArgs returns where the arguments of `go test` begin, -1 if argv is another command. Before the verb, the go command
// takes -C alone.
func goTestArgs(argv []string) int {
	if !goCommand().MatchString(filepath.Base(argv[0])) {
		return -1
	}
	at := 1
	for at < len(argv) && isFlag(argv[at], "C") {
		if !strings.Contains(argv[at], "=") {
			at++
		}
		at++
	}
	if at >= len(argv) || argv[at] != "test" {
		return -1
	}
	// -C is also taken as the verb's first flag, and has to stay that.
	if at++; at < len(argv) && isFlag(argv[at], "C") {
		if !strings.Contains(argv[at], "=") {
			at++
		}
		at++
	}
	return min(at, len(argv))
}

// isFlag tells whether arg is the flag of that name as package flag reads it, with a value or without.
func isFlag(arg, name string) bool {
	text, ok := strings.CutPrefix(arg, "-")
	if !ok {
		return false
	}
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "-"), "=")
	return text == name
}

// checkGoTest refuses what cannot work together with a sandbox.
func checkGoTest(args []string, goflags string) error {
	if end := slices.IndexFunc(args, func(a string) bool { return isFlag(a, "args") }); end >= 0 {
		args = args[:end]
	}
	if slices.ContainsFunc(slices.Concat(args, strings.Fields(goflags)), func(a string) bool { return isFlag(a, "exec") }) {
		return usageErrorf("go test -exec: is how tests get into the sandbox, and cannot be given; leave it out, also of $GOFLAGS")
	}
	return nil
}
