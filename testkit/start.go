package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// errTestDeadline is why something was given up that a test was waiting for.
var errTestDeadline = errors.New("the test's own deadline (go test -timeout) is near")

// Start starts a container and returns when it is ready. It is discarded after the test.
//
// Where that fails it fails the test. A machine that cannot run containers skips the test, with the reason and what would
// mend it; with BIVOUAC_REQUIRE=1 in the environment that is a failure too.
func Start(tb TB, image string, opts ...Option) *Container {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	c, err := create(ctx, image, opts)
	if err != nil {
		giveUp(tb, err)
		return nil
	}
	c.belongTo(tb)
	if err := c.launch(ctx); err != nil {
		giveUp(tb, err)
		return nil
	}
	return c
}

// Run runs a command in a container of its own to its end, and returns how it ended and what it printed. An exit code other
// than 0 is no failure. Without args it runs the image's command. It fails and skips as [Start] does, and fails when the
// command does not end within [StartTimeout].
func Run(tb TB, image string, args []string, opts ...Option) Result {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	result, err := runOnce(ctx, image, args, opts)
	if err != nil {
		giveUp(tb, err)
	}
	return result
}

// RunContext is [Run] for programs that are no tests.
//
// Errors: those of [New]; [*StartError] when the command has not ended in time.
func RunContext(ctx context.Context, image string, args []string, opts ...Option) (Result, error) {
	return runOnce(ctx, image, args, opts)
}

// New starts a container and returns when it is ready. The caller closes it. Everything also ends with the process.
//
// Errors: [*StartError] when the container was made and did not get ready; those of package sandbox, which have a
// [sandbox.Code]: CodeInvalid for options that contradict each other, CodeNotFound for an image that is not there,
// CodeProtocol without a keeper. errors.Is(err, errors.ErrUnsupported) on a machine that cannot run it.
func New(ctx context.Context, image string, opts ...Option) (*Container, error) {
	c, err := create(ctx, image, opts)
	if err != nil {
		return nil, err
	}
	if err := c.launch(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// create makes a container with its files and addresses, whose program does not run.
func create(ctx context.Context, image string, opts []Option) (*Container, error) {
	s, err := collect(image, opts)
	if err != nil {
		return nil, startFailed(image, err)
	}
	if ctx.Err() != nil {
		return nil, startFailed(image, fmt.Errorf("the test is over: %w", context.Cause(ctx)))
	}
	c, err := shared.create(ctx, s)
	if err != nil {
		return nil, startFailed(image, err)
	}
	return c, nil
}

func startFailed(image string, err error) error {
	if remedy := limitRemedy(err); remedy != "" {
		return fmt.Errorf("start %s: %w; %s", image, err, remedy)
	}
	return fmt.Errorf("start %s: %w", image, err)
}

// giveUp skips or fails a test.
func giveUp(tb TB, err error) {
	tb.Helper()
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv("BIVOUAC_REQUIRE") != "1" {
		tb.Skipf("testkit: this machine cannot run the container: %v (BIVOUAC_REQUIRE=1 makes this a failure)", err)
		return
	}
	fail(tb, "testkit: "+err.Error())
}

// fail fails a test. One that has ended cannot be failed any more: package testing panics, where only the goroutine that
// has outlived its test should end.
func fail(tb TB, message string) {
	tb.Helper()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if text, ok := p.(string); !ok || !strings.Contains(text, "has completed") {
			panic(p)
		}
		fmt.Fprintf(os.Stderr, "testkit: after the end of %s: %s\n", tb.Name(), message)
		runtime.Goexit()
	}()
	tb.Fatalf("%s", message)
}
