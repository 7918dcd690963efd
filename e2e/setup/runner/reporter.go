package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// A reporter prints each suite's end, and what it counted in the end.
type reporter struct {
	out   io.Writer
	src   string // the copy of the tree, whose paths are shortened to those in the tree
	skips []skip
	all   []result
	ran   map[[2]string]bool // suite and kind of user
}

// add takes the results of s, run as a user of kind. An empty kind means that it was not run at all.
func (r *reporter) add(s suite, kind string, took time.Duration, results []result) {
	for i := range results {
		results[i].suite, results[i].kind = s.name, kind
	}
	results = forbid(results, r.skips)
	r.all = append(r.all, results...)
	if r.ran == nil {
		r.ran = map[[2]string]bool{}
	}
	r.ran[[2]string{s.name, kind}] = true

	word := "ok"
	for _, result := range results {
		if result.status == failed {
			word = "FAIL"
			r.printFailure(result)
		}
	}
	fmt.Fprintf(r.out, "%s\t%s\t%.1fs\t%s\n", word, s.name, took.Seconds(), strings.TrimSpace(kind+" "+count(results)))
}

// addCheck takes the outcome of what is checked once, and not as any of the users.
func (r *reporter) addCheck(name string, err error) {
	outcome := result{test: "check", status: passed}
	if err != nil {
		outcome.status, outcome.output = failed, err.Error()
	}
	r.add(suite{name: name}, "", 0, []result{outcome})
}

// printFailure prints what a failed test wrote, and the command that runs it again.
func (r *reporter) printFailure(f result) {
	fmt.Fprintf(r.out, "--- FAIL: %s %s %s\n", f.suite, f.test, f.kind)
	output := strings.ReplaceAll(f.output, r.src+"/", "")
	for line := range strings.Lines(strings.TrimRight(output, "\n") + "\n") {
		fmt.Fprint(r.out, "    ", line)
	}
	if f.kind != "" {
		fmt.Fprintf(r.out, "    again: %smake test PKG=./%s KIND=%s\n", f.selection(), f.suite, f.kind)
	}
}

// notWord are the characters that mean something to a shell or in a regular expression.
var notWord = regexp.MustCompile(`[^a-zA-Z0-9-]`)

// selection returns the variable that narrows a run down to the test or spec, with a space after it. It is one of the
// environment, as make would expand it in its arguments.
func (f result) selection() string {
	switch {
	case isSpec(f):
		return fmt.Sprintf("FOCUS='%s' ", notWord.ReplaceAllString(strings.TrimPrefix(f.test, specPrefix), "."))
	case strings.HasPrefix(f.test, "Test"), strings.HasPrefix(f.test, "Fuzz"), strings.HasPrefix(f.test, "Example"):
		return fmt.Sprintf("RUN='^%s$' ", strings.ReplaceAll(f.test, "/", "$/^"))
	}
	return ""
}

// close prints the listed skips that did not occur and, alone on the last line, the sums. It fails if a test did, or
// if there was none.
func (r *reporter) close() error {
	for _, s := range idle(r.skips, r.all) {
		if r.ran[[2]string{s.suite, s.kind}] || s.kind == "any" {
			fmt.Fprintf(r.out, "note: e2e/skips.txt:%d: %s %s was not skipped\n", s.line, s.suite, s.test)
		}
	}
	fmt.Fprintln(r.out, sums(r.all))
	if len(r.all) == 0 || anyFailed(r.all) {
		return errFailed
	}
	return nil
}

func tally(results []result) map[status]int {
	n := map[status]int{}
	for _, r := range results {
		n[r.status]++
	}
	return n
}

func sums(results []result) string {
	n := tally(results)
	return fmt.Sprintf("%d passed, %d failed, %d skipped", n[passed], n[failed], n[skipped])
}

// count is sums without what is zero, so that only the last line of a run has that form.
func count(results []result) string {
	n := tally(results)
	var parts []string
	for _, s := range []status{passed, failed, skipped} {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", s, n[s]))
		}
	}
	return strings.Join(parts, " ")
}
