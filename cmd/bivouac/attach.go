package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bivouac-run/bivouac/sandbox"
)

// attachFlags are those of the verb attach.
type attachFlags struct {
	noStdin, sigProxy bool
	detachKeys        string
}

func newAttachCommand() *cobra.Command {
	f := &attachFlags{}
	cmd := &cobra.Command{
		Use:   "attach [flags] CONTAINER",
		Short: "Connect with the input and output of a running container",
		Long: `Connect this terminal, or these standard streams, with those of a running container's own command: what it writes from now on
comes here, and if it was started with --interactive what is typed goes there. Several may be attached at once. Whoever is
attached and does not read holds the command up.

In a terminal, the detach keys leave the container running. Without one, signals are passed on to it. The exit code is the
command's, or 0 after detaching. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac attach shell
  bivouac attach --no-stdin web
  bivouac attach --detach-keys ctrl-x,q shell`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return asRunFailure(f.run(cmd.Context(), args[0]))
		},
	}
	cmd.Flags().BoolVar(&f.noStdin, "no-stdin", false, "do not pass standard input on")
	cmd.Flags().BoolVar(&f.sigProxy, "sig-proxy", true, "pass signals on to the command, unless it has a terminal")
	registerDetachKeys(cmd.Flags(), &f.detachKeys)
	return cmd
}

func (f *attachFlags) run(ctx context.Context, name string) error {
	keys, err := parseDetachKeys(f.detachKeys)
	if err != nil {
		return err
	}
	return withRunning(ctx, name, "attach to", func(a *sandbox.Attached) error {
		if a.Status.State == sandbox.StatePaused {
			return sandbox.Errorf(sandbox.CodeInvalid, "attach to container %q: it is paused", name).WithRemedy("continue it: bivouac unpause %s", name)
		}
		spec, err := a.Config(ctx)
		if err != nil {
			return err
		}
		s, err := newSession(sessionOptions{
			stdin: spec.OpenStdin && !f.noStdin, stdout: true, stderr: true, terminal: spec.Terminal != nil, held: true, detachKeys: keys,
		})
		if err != nil {
			return err
		}
		defer s.close()
		if err := s.checkTerminal(); err != nil {
			return err
		}
		return f.attach(ctx, a.Container, s)
	})
}

func (f *attachFlags) attach(ctx context.Context, c *sandbox.Container, s *session) error {
	if f.sigProxy && !s.terminal {
		signals := catchSignals()
		defer signals.stop()
		go signals.forward(ctx, c)
	} else {
		var free func()
		ctx, free = interruptible(ctx, "the container goes on")
		defer free()
	}
	exit, detached, err := s.stay(ctx, func(ctx context.Context) (sandbox.Exit, error) { return f.follow(ctx, c, s) })
	if err != nil || detached {
		return causeOf(ctx, err)
	}
	return exitError{code: exit.Code}
}

// follow connects the streams until the program ends.
func (f *attachFlags) follow(ctx context.Context, c *sandbox.Container, s *session) (sandbox.Exit, error) {
	type end struct {
		exit sandbox.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		exit, err := c.Wait(ctx)
		ended <- end{exit, err}
	}()
	attached := make(chan error, 1)
	spec := sandbox.AttachSpec{Stdin: s.streams.Stdin, Stdout: s.streams.Stdout, Stderr: s.streams.Stderr}
	if size, ok := ownSize(); ok && s.terminal {
		spec.Size = &size
	}
	go func() { attached <- c.AttachStreams(ctx, spec) }()
	if err := s.attachHeld(ctx, c); err != nil {
		return sandbox.Exit{}, err
	}
	if !s.terminal {
		s.passInput()
	}
	err := <-attached
	s.started()
	if err != nil {
		return sandbox.Exit{}, err
	}
	e := <-ended
	return e.exit, e.err
}

// checkTerminal asks for a terminal where keystrokes are to go to one.
func (s *session) checkTerminal() error {
	if s.terminal && s.stdin && !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("the input is not a terminal, and the command has one; give --no-stdin, or use a terminal")
	}
	return nil
}
