package main

import (
	"strings"
)

// A status is how a test ended, in the words of test2json.
type status string

const (
	passed  status = "pass"
	failed  status = "fail"
	skipped status = "skip"
)

// A result is the end of one test, or of one Ginkgo spec, as one kind of user.
type result struct {
	suite, test, kind string
	status            status
	output            string
}

// withoutParents drops each test whose subtests account for its status, so that nothing is counted twice: tests with
// subtests, and the Go tests that run a Ginkgo suite.
func withoutParents(results []result) []result {
	var kept []result
	for _, r := range results {
		if !accountedFor(r, results) {
			kept = append(kept, r)
		}
	}
	return kept
}

func accountedFor(parent result, results []result) bool {
	runsSpecs := strings.Contains(parent.output, "Running Suite: ")
	for _, r := range results {
		child := strings.HasPrefix(r.test, parent.test+"/") || runsSpecs && isSpec(r)
		if child && r.status == parent.status {
			return true
		}
	}
	return false
}

// isSpec tells a Ginkgo spec from a Go test, whose name begins with its kind in one word.
func isSpec(r result) bool { return strings.HasPrefix(r.test, specPrefix) }
