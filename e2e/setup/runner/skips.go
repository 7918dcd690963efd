package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// A skip is a line of e2e/skips.txt: a test that may be skipped, and why.
//
//	package TestName user-kind [$VARIABLE] reason...
//
// The package is below the module, the kind is mapped, single or any, and a Ginkgo spec is called Spec/ and its texts,
// joined with underscores. A * in the name stands for anything but a slash. A line with a variable counts where that is
// set.
type skip struct {
	suite, test, kind, variable, reason string
	line                                int
}

// readSkips reads the lines of a list that count. Empty ones and those that begin with # say nothing.
//
// Errors: the file cannot be read, or a line lacks a field or names an unknown kind.
func readSkips(list string) ([]skip, error) {
	file, err := os.Open(list)
	if err != nil {
		return nil, fmt.Errorf("read skips: %w", err)
	}
	defer file.Close()
	var skips []skip
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		s, err := parseSkip(text)
		if err != nil {
			return nil, fmt.Errorf("read skips: %s:%d: %w", list, n, err)
		}
		s.line = n
		if s.variable == "" || os.Getenv(s.variable) != "" {
			skips = append(skips, s)
		}
	}
	return skips, lines.Err()
}

func parseSkip(text string) (skip, error) {
	fields := strings.Fields(text)
	var variable string
	if len(fields) > 3 && strings.HasPrefix(fields[3], "$") {
		variable, fields = fields[3][1:], slices.Delete(fields, 3, 4)
	}
	if len(fields) < 4 {
		return skip{}, fmt.Errorf("%q lacks one of package, test, kind and reason", text)
	}
	s := skip{
		suite: fields[0], test: fields[1], kind: fields[2], variable: variable, reason: strings.Join(fields[3:], " "),
	}
	if s.kind != "mapped" && s.kind != "single" && s.kind != "any" {
		return skip{}, fmt.Errorf("%q is no kind of user: mapped, single, any", s.kind)
	}
	return s, nil
}

func (s skip) allows(r result) bool {
	return s.suite == r.suite && s.matches(r.test) && (s.kind == r.kind || s.kind == "any")
}

func (s skip) matches(test string) bool {
	if !strings.Contains(s.test, "*") {
		return s.test == test
	}
	ok, err := path.Match(s.test, test)
	return ok && err == nil
}

// forbid turns each skip in results that the list does not have into a failure.
func forbid(results []result, skips []skip) []result {
	for i, r := range results {
		if r.status == skipped && !anyAllows(skips, r) {
			results[i].status = failed
			results[i].output = "skipped, and e2e/skips.txt does not list it:\n" + r.output
		}
	}
	return results
}

func anyAllows(skips []skip, r result) bool {
	for _, s := range skips {
		if s.allows(r) {
			return true
		}
	}
	return false
}

// idle returns the listed skips that none of results made use of.
func idle(skips []skip, results []result) []skip {
	var unused []skip
	for _, s := range skips {
		used := false
		for _, r := range results {
			used = used || r.status == skipped && s.allows(r)
		}
		if !used {
			unused = append(unused, s)
		}
	}
	return unused
}
