package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// testPlan is what `bivouac test` decided for the sandboxes of all packages.
type testPlan struct {
	Spec  sandbox.Spec `json:"spec"`
	Write bool         `json:"write,omitempty"`
}

// newTestExecCommand is what go test calls instead of a test binary, with the binary and its arguments.
func newTestExecCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "test-exec BINARY [ARG...]",
		Hidden:             true,
		DisableFlagParsing: true,
		Args:               cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, argv []string) error {
			plan, err := takeTestPlan()
			if err != nil {
				return err
			}
			return asRunFailure(plan.run(cmd.Context(), argv))
		},
	}
}

// takeTestPlan reads the plan and takes it out of the environment, which is the test's.
func takeTestPlan() (*testPlan, error) {
	text, ok := os.LookupEnv(testVariable)
	if !ok {
		return nil, usageErrorf("test-exec is what go test calls; use bivouac test -- go test")
	}
	plan := &testPlan{}
	if err := json.Unmarshal([]byte(text), plan); err != nil {
		return nil, fmt.Errorf("read $%s: %w", testVariable, err)
	}
	return plan, os.Unsetenv(testVariable)
}

// run runs a command in a sandbox as if there were none around it.
func (p *testPlan) run(ctx context.Context, argv []string) error {
	spec, cleanUp, err := p.specFor(argv)
	if err != nil {
		return err
	}
	defer cleanUp()
	f := &runFlags{interactive: true, quiet: true, shown: argv, more: moreFlags{sigProxy: true}}
	session, err := f.openSession(spec)
	if err != nil {
		return err
	}
	defer session.close()
	exit, err := f.supervise(ctx, spec, session)
	if err != nil {
		return explainTestFailure(err, spec.Image)
	}
	return exitError{code: exit.Code}
}

// explainTestFailure knows the likeliest reason why a binary that was just built is not found.
func explainTestFailure(err error, image string) error {
	var e *sandbox.Error
	if image == hostImage || !errors.As(err, &e) || e.Code != sandbox.CodeNoProgram {
		return err
	}
	return e.WithRemedy("a test binary that uses cgo needs the C library it was built with: set CGO_ENABLED=0, or choose another image")
}

const hostImage = "host:"

// specFor completes the plan for one command. The function removes what was made for it and not used.
func (p *testPlan) specFor(argv []string) (*sandbox.Spec, func(), error) {
	view, err := newTestView(p.Spec.Image == hostImage)
	if err != nil {
		return nil, nil, err
	}
	if err := view.show(argv, p.Write); err != nil {
		view.cleanUp()
		return nil, nil, err
	}
	s := p.Spec
	s.Args, s.Entrypoint, s.WorkingDir = argv, &[]string{}, view.dir
	s.Init = true // tests have children, and are not used to be process 1
	s.Env = append(testEnvironment(os.Environ(), view.host), s.Env...)
	s.Mounts = append(view.mounts, s.Mounts...)
	return &s, view.cleanUp, nil
}

// testEnvironment is the environment of a test: the one it would have outside, but for what an image must say itself.
func testEnvironment(environ []string, host bool) []string {
	if host {
		return environ
	}
	var kept []string
	for _, e := range environ {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "PATH", "HOME", "TMPDIR", "HOSTNAME":
		default:
			kept = append(kept, e)
		}
	}
	return kept
}
