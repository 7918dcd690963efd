package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

const runLong = `Run a command in a new container and discard the container when the command ends. With -d it runs in the background,
and the container stays until bivouac rm removes it; its output is what bivouac logs prints.

IMAGE is a registry reference, or has a transport as in containers-transports(5):
  oci:DIR[:TAG]         an OCI image layout
  oci-archive:FILE      the same in a tar file
  docker-archive:FILE   what docker save writes
  rootfs:DIR            a directory that is a root file system
  host:                 the machine's own root, below a layer that takes all changes and is discarded

The exit code is the command's; 125 if the container could not be run, 126 if the command cannot be executed, 127 if it
is not there, 124 if --timeout was reached. Ctrl-C twice kills.`

const runExample = `  bivouac run debian:12 cat /etc/os-release
  bivouac run -it --rm busybox sh
  bivouac run -d --name web -p 8080:80 nginx
  bivouac run -v "$PWD:/src:ro" -w /src golang:1 go vet ./...
  bivouac run host: sh -c 'id -u; touch /etc/mine'`

func newRunCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:     "run [flags] IMAGE [ARG...]",
		Short:   "Run a command in a new container",
		Long:    runLong,
		Example: runExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("run needs an image; see bivouac run --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cmd.Flags().SetInterspersed(false) // what follows the image is the command's
	f.register(cmd.Flags())
	return cmd
}

// run is the verb: specify, start, stay connected, and end as the program ended.
func (f *runFlags) run(cmd *cobra.Command, args []string) error {
	spec, err := f.spec(cmd.Flags(), args)
	if err != nil {
		return exitError{code: 125, err: err}
	}
	if f.detach {
		return asRunFailure(f.runDetached(cmd.Context(), cmd.OutOrStdout(), spec))
	}
	session, err := f.openSession(spec)
	if err != nil {
		return exitError{code: 125, err: err}
	}
	defer session.close()
	exit, err := f.supervise(cmd.Context(), spec, session)
	if err != nil {
		return exitError{code: runExitCode(err), err: err}
	}
	return exitError{code: exit.Code}
}

func (f *runFlags) supervise(ctx context.Context, spec *sandbox.Spec, s *session) (sandbox.Exit, error) {
	client, err := startClient(ctx)
	if err != nil {
		return sandbox.Exit{}, err
	}
	// The keeper ends by itself when the socket does; nobody needs to see that.
	defer client.Abandon()
	signals := catchSignals()
	defer signals.stop()
	container, err := f.start(ctx, client, spec, s, signals)
	if err != nil {
		return sandbox.Exit{}, err
	}
	go signals.forward(ctx, container)
	if err := s.attach(container.Terminal); err != nil {
		return sandbox.Exit{}, err
	}
	exit, err := f.await(ctx, container)
	err = errors.Join(err, s.drain())
	if exit.Kept != "" {
		fmt.Fprintf(os.Stderr, "bivouac: kept the changed files in %s\n", exit.Kept)
	}
	return exit, err
}

// start returns when the program is being executed. A signal before that ends the attempt.
func (f *runFlags) start(ctx context.Context, client *sandbox.Client, spec *sandbox.Spec, s *session, signals *signals) (*sandbox.Container, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer signals.cancelOn(cancel)()
	report, finish := newProgress(os.Stderr, f.quiet)
	container, err := client.Run(ctx, *spec, s.streams, report)
	finish()
	s.started()
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	f.tell(container)
	return container, nil
}

// tell prints what the user should know of a container that runs.
func (f *runFlags) tell(c *sandbox.Container) {
	warn(c.Warnings)
	f.ports.tell(os.Stderr, c.Ports)
}

func warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(os.Stderr, "bivouac: warning: %s\n", w)
	}
}

// stopGrace is how long a program that is asked to end may take.
const stopGrace = 10 * time.Second

// await waits for the end, which --timeout may bring about.
func (f *runFlags) await(ctx context.Context, c *sandbox.Container) (sandbox.Exit, error) {
	if f.timeout == 0 {
		return c.Wait(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	exit, err := c.Wait(limited)
	if !errors.Is(err, context.DeadlineExceeded) {
		return exit, err
	}
	fmt.Fprintf(os.Stderr, "bivouac: stopped %s after the time-out of %v\n", strings.Join(f.shown, " "), f.timeout)
	exit, err = stop(ctx, c, stopGrace)
	exit.Code = 124 // as timeout(1)
	return exit, err
}

// stop asks the program to end, and kills it when it does not.
func stop(ctx context.Context, c *sandbox.Container, grace time.Duration) (sandbox.Exit, error) {
	if err := c.Signal(ctx, signalOf(c.StopSignal)); err != nil && sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
		return sandbox.Exit{}, err
	}
	limited, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	exit, err := c.Wait(limited)
	if !errors.Is(err, context.DeadlineExceeded) {
		return exit, err
	}
	if err := c.Signal(ctx, signalOf(9)); err != nil && sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
		return sandbox.Exit{}, err
	}
	return c.Wait(ctx)
}

// runExitCode gives the two failures that are the program's own Docker's codes, and 125 to ours.
func runExitCode(err error) int {
	var interrupted interruptedError
	switch {
	case errors.As(err, &interrupted):
		return 128 + int(interrupted.signal)
	case sandbox.CodeOf(err) == sandbox.CodeNoProgram:
		return 127
	case sandbox.CodeOf(err) == sandbox.CodeNotExecutable:
		return 126
	default:
		return 125
	}
}
