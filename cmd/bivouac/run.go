package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

const runLong = `Run a command in a new container. With --name, or -d, which runs it in the background, the container is kept: it stays with
its files and its output, for bivouac start and logs, until bivouac rm removes it. Without these, or with --rm, it is discarded
when the command ends; --rm=false keeps it.

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
  bivouac run -v "$PWD:/src:ro" -w /src python:3 python3 -m unittest
  bivouac run host: sh -c 'id -u; touch /etc/mine'`

func newRunCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:     "run [flags] IMAGE [ARG...]",
		Short:   "Run a command in a new container",
		Long:    runLong,
		Example: runExample,
		Args:    needsImage("run"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cmd.Flags().SetInterspersed(false) // what follows the image is the command's
	f.register(cmd.Flags())
	freeHelp(cmd)
	refuseDockersFlags(cmd)
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

func (f *runFlags) supervise(ctx context.Context, spec *sandbox.Spec, s *session) (exit sandbox.Exit, err error) {
	client, err := startStaying(ctx) // the user may detach
	if err != nil {
		return exit, err
	}
	defer f.leave(client, spec, &err)
	signals := catchSignals()
	defer signals.stop()
	container, err := f.start(ctx, client, spec, s, signals)
	if err != nil {
		return exit, err
	}
	if f.more.sigProxy {
		go signals.forward(ctx, container)
	} else {
		signals.stop()
	}
	if err := errors.Join(s.attach(container.Terminal), s.attachHeld(ctx, container)); err != nil {
		return exit, err
	}
	exit, detached, err := s.stay(ctx, func(ctx context.Context) (sandbox.Exit, error) { return f.await(ctx, container) })
	if !detached {
		return exit, err
	}
	s.restore()
	return exit, leaveRunning(ctx, container, !spec.Keep, s.giveBack()...)
}

// leave ends the connection with the keeper. It ends by itself at once, which nobody needs to see, unless it has to put a
// container back into the store or goes on with it, or has volumes, which the next command may want to remove.
func (f *runFlags) leave(client *sandbox.Client, spec *sandbox.Spec, err *error) {
	isVolume := func(m sandbox.Mount) bool { return m.Type == sandbox.MountVolume }
	if !spec.Keep && !slices.ContainsFunc(spec.Mounts, isVolume) && len(spec.VolumesFrom) == 0 {
		client.Abandon()
		return
	}
	*err = errors.Join(*err, client.Close())
}

// start returns when the program is being executed. A signal before that ends the attempt; a container that is kept stays, as
// created.
func (f *runFlags) start(ctx context.Context, client *sandbox.Client, spec *sandbox.Spec, s *session, signals *signals) (*sandbox.Container, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer signals.cancelOn(cancel)()
	start := f.startDiscarded
	if spec.Keep {
		start = f.startKept
	}
	container, err := start(ctx, client, spec, s)
	s.started()
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	f.tell(container)
	return container, nil
}

func (f *runFlags) startDiscarded(ctx context.Context, client *sandbox.Client, spec *sandbox.Spec, s *session) (*sandbox.Container, error) {
	id, err := f.more.openIDFile()
	if err != nil {
		return nil, err
	}
	defer id.close()
	report, finish := newProgress(os.Stderr, f.quiet)
	container, err := client.Run(ctx, *spec, s.streams, report)
	finish()
	if err != nil {
		return nil, err
	}
	return container, id.write(container.ID)
}

func (f *runFlags) startKept(ctx context.Context, client *sandbox.Client, spec *sandbox.Spec, s *session) (*sandbox.Container, error) {
	container, err := f.createIn(ctx, client, io.Discard, spec)
	if err != nil {
		return nil, err
	}
	return container, container.Start(ctx, s.streams)
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
