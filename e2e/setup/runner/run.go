package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// testAll compiles the suites of the packages, runs them as each account and prints what came of it.
func testAll(c config, accounts []account, patterns []string) error {
	skips, err := readSkips(filepath.Join(c.src, "e2e", "skips.txt"))
	if err != nil {
		return err
	}
	if err := adoptOrphans(); err != nil {
		return err
	}
	r := &reporter{out: os.Stdout, src: c.src, skips: skips}
	r.addCheck("go vet", c.vet(patterns))
	r.addCheck("pure callers", c.checkPure())
	suites, err := c.suites(patterns)
	if err != nil {
		return err
	}
	converter, err := c.test2json()
	if err != nil {
		return fmt.Errorf("build test2json: %w", err)
	}
	suites = compileAll(c, suites, r)
	for _, a := range accounts {
		for _, s := range suites {
			start := time.Now()
			results := job{config: c, account: a, suite: s, converter: converter}.run()
			r.add(s, a.kind, time.Since(start), results)
		}
	}
	return r.close()
}

// compileAll compiles the suites and returns those that could be.
func compileAll(c config, suites []suite, r *reporter) []suite {
	var compiled []suite
	for _, s := range suites {
		if err := c.compile(s); err != nil {
			r.addCheck(s.name+" (compile)", err)
			continue
		}
		compiled = append(compiled, s)
	}
	return compiled
}

// A job is one suite, run as one account.
type job struct {
	config    config
	account   account
	suite     suite
	converter string // test2json
}

// run runs the suite and returns the results of its tests and specs, and of what it left behind.
func (j job) run() []result {
	results, rest, err := j.runTests()
	if j.suite.ginkgo {
		specs, specsErr := readSpecs(j.report())
		results, err = append(results, specs...), errors.Join(err, specsErr)
	}
	results = withoutParents(results)
	if err != nil && !anyFailed(results) {
		results = append(results, result{test: "run", status: failed, output: fmt.Sprintf("%v\n%s", err, rest)})
	}
	if leaked := endOrphans(grace); len(leaked) > 0 {
		results = append(results, result{test: "leak", status: failed,
			output: "processes that outlived the suite:\n" + strings.Join(leaked, "\n")})
	}
	return results
}

func (j job) report() string { return filepath.Join(j.account.home, "report.json") }

// runTests runs the test binary to its end, or to the timeout.
func (j job) runTests() (results []result, rest string, err error) {
	args := append([]string{"-t", "-p", j.suite.name, j.suite.binary}, j.flags()...)
	cmd := j.account.command(j.converter, args...)
	cmd.Dir = j.suite.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := os.RemoveAll(j.report()); err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start tests: %w", err)
	}
	stop := j.limit(cmd, stdout)
	defer stop()
	results, rest = readEvents(stdout)
	if err := cmd.Wait(); err != nil {
		return results, rest + stderr.String(), fmt.Errorf("run tests: %w", err)
	}
	return results, rest, nil
}

// limit ends cmd some time after its own timeout should have, and what reads its output. The returned function calls
// that off.
func (j job) limit(cmd *exec.Cmd, stdout io.Closer) func() {
	timer := time.AfterFunc(j.config.timeout+30*time.Second, func() {
		_ = cmd.Process.Kill() // Wait tells
		_ = stdout.Close()
	})
	return func() { timer.Stop() }
}

func (j job) flags() []string {
	flags := []string{"-test.v=test2json", "-test.timeout=" + j.config.timeout.String()}
	if j.config.run != "" {
		flags = append(flags, "-test.run="+j.config.run)
	}
	if j.suite.ginkgo {
		flags = append(flags, "-ginkgo.no-color", "-ginkgo.json-report="+j.report(),
			"-ginkgo.timeout="+j.config.timeout.String())
		if j.config.focus != "" {
			flags = append(flags, "-ginkgo.focus="+j.config.focus)
		}
	}
	return flags
}

func anyFailed(results []result) bool {
	for _, r := range results {
		if r.status == failed {
			return true
		}
	}
	return false
}
