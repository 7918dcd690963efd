package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

const testLong = `Run the tests of an existing Go suite in sandboxes, so that they may be root, write to /etc and bind port 80.

The go command itself runs outside, as ever: it builds, vets and reports. Each test binary, which is one package, runs in
a sandbox of its own over the machine's own root (host:), or over an image. It starts in its package's directory, with
go test's environment, streams, arguments and exit code. What it writes is discarded when it ends, but for what go test
asked for: coverage, profiles, the fuzzing cache, -artifacts.

A command that is not "go test" runs in such a sandbox itself.

The exit code is the command's; 125 if a sandbox could not be made.`

const testExample = `  bivouac test -- go test ./...
  bivouac test --write -- go test ./parser -update
  bivouac test --image debian:12 -- go test -run TestInstall -v ./packaging
  bivouac test -- ./server.test -test.v`

// testFlags are the flags of test. Most are those of run.
type testFlags struct {
	runFlags
	image string
	write bool
}

// testRunFlags are the flags of run that make sense for tests.
var testRunFlags = []string{
	"env", "env-file", "user", "hostname", "volume", "mount", "tmpfs", "read-only", "quiet", "pull", "platform", "network", "cap-add",
	"cap-drop", "security-opt", "ulimit", "memory", "memory-swap", "cpus", "pids-limit", "limits", "plain-http", "tls-ca",
	"ignore-chown-errors", "max-unpacked-size",
}

func newTestCommand() *cobra.Command {
	f := &testFlags{}
	cmd := &cobra.Command{
		Use:     "test [flags] -- go test [ARG...]",
		Short:   "Run the tests of a Go suite in sandboxes",
		Long:    testLong,
		Example: testExample,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return asRunFailure(f.run(cmd.Context(), cmd.Flags(), args))
		},
	}
	f.registerTest(cmd.Flags())
	freeHelp(cmd)
	return cmd
}

func (f *testFlags) registerTest(s *pflag.FlagSet) {
	s.SetInterspersed(false) // what follows the first word is the command's
	s.StringVar(&f.image, "image", "host:", "run over `IMAGE` instead of the machine's own root")
	s.BoolVar(&f.write, "write", false, "let tests change their package's directory for real")
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.register(all)
	for _, name := range testRunFlags {
		s.AddFlag(all.Lookup(name))
	}
}

// asRunFailure gives failures that have no exit code of their own the one of run.
func asRunFailure(err error) error {
	if exit := (exitError{}); err == nil || errors.As(err, &exit) {
		return err
	}
	return exitError{code: runExitCode(err), err: err}
}

// run makes ready what all sandboxes need, and becomes the command, or runs it in a sandbox.
func (f *testFlags) run(ctx context.Context, set *pflag.FlagSet, argv []string) error {
	at := goTestArgs(argv)
	if at > 0 {
		if err := checkGoTest(argv[at:], os.Getenv("GOFLAGS")); err != nil {
			return err
		}
	}
	spec, err := f.spec(set, []string{f.image})
	if err != nil {
		return err
	}
	if err := f.prepare(ctx, spec); err != nil {
		return err
	}
	plan := &testPlan{Spec: *spec, Write: f.write}
	if at < 0 {
		return plan.run(ctx, argv)
	}
	return plan.becomeGoTest(argv, at)
}

// prepare fetches the image once for all packages, and finds out here whether this machine can have such a sandbox.
func (f *testFlags) prepare(parent context.Context, spec *sandbox.Spec) error {
	ctx, free := interruptible(parent, "no test was run")
	defer free()
	client, err := startClient(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	trial := *spec
	trial.Args, trial.WorkingDir, trial.Listed = []string{"true"}, "/", false
	report, finish := newProgress(os.Stderr, f.quiet)
	_, err = client.Create(ctx, trial, report)
	finish()
	if spec.Get.Pull == sandbox.PullAlways {
		spec.Get.Pull = sandbox.PullMissing
	}
	return errors.Join(causeOf(ctx, err), client.Close())
}

// testVariable hands the plan to the sandboxes of go test. It is not in their command line, which others can read.
const testVariable = "_BIVOUAC_TEST"

// becomeGoTest executes go test, so that nothing of this program stands between it and its caller.
func (p *testPlan) becomeGoTest(argv []string, at int) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return exitError{code: exitNoProgram, err: fmt.Errorf("run %s: %w", argv[0], err)}
	}
	wrapper, err := quoteExec(ownPath())
	if err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the tests' sandbox: %w", err)
	}
	argv = slices.Insert(slices.Clone(argv), at, "-exec="+wrapper+" test-exec")
	err = syscall.Exec(program, argv, append(os.Environ(), testVariable+"="+string(text)))
	return exitError{code: exitNotExecutable, err: fmt.Errorf("execute %s: %w", program, err)}
}

// quoteExec quotes a path for go test's -exec, which takes blanks for the ends of words and knows no escapes.
func quoteExec(path string) (string, error) {
	for _, quote := range []string{"'", `"`} {
		if !strings.Contains(path, quote) {
			return quote + path + quote, nil
		}
	}
	return "", fmt.Errorf("call go test -exec: the path of bivouac has both kinds of quotes: %s; install it elsewhere", path)
}
