package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// execRunFlags are the flags of run that exec has too.
var execRunFlags = []string{"env", "env-file", "workdir", "user", "interactive", "tty", "detach-keys", "detach"}

func newExecCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "exec [flags] CONTAINER COMMAND [ARG...]",
		Short: "Run a command in a running container",
		Long: `Run a command in a running container, with the environment, working directory, user and confinement of the container's own
unless the flags say otherwise. CONTAINER is a name, or an id or its beginning; see bivouac ps.

The exit code is the command's; 125 if it could not be run, 126 if it cannot be executed, 127 if it is not there. The
command ends when the container does, or this one; with -d it goes on without this one, and its output is lost.`,
		Example: `  bivouac exec web nginx -s reload
  bivouac exec -it web sh
  bivouac exec -u postgres -w /tmp db psql -c 'select 1'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("exec needs a container and a command; see bivouac exec --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return asRunFailure(f.exec(cmd.Context(), args[0], args[1:]))
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the container is the command's
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.register(all)
	for _, name := range execRunFlags {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	cmd.Flags().Lookup("detach").Usage = "leave the command running in the background"
	refuseDockersFlags(cmd)
	return cmd
}

func (f *runFlags) exec(ctx context.Context, container string, args []string) error {
	spec := &sandbox.Spec{}
	if err := errors.Join(f.setEnv(spec), f.setTerminal(spec)); err != nil {
		return err
	}
	return withRunning(ctx, container, "execute in", func(c *sandbox.Attached) error {
		e := sandbox.ExecSpec{Args: args, Env: spec.Env, User: f.user, WorkingDir: f.workdir, Terminal: spec.Terminal}
		if f.detach {
			return execDetached(ctx, c, e)
		}
		return f.execAttached(ctx, c, spec, e)
	})
}

// execDetached leaves the command running. The keeper takes a terminal over.
func execDetached(ctx context.Context, c *sandbox.Attached, e sandbox.ExecSpec) error {
	e.Detached = e.Terminal == nil
	process, err := c.Exec(ctx, e, sandbox.Streams{})
	if err != nil || e.Detached {
		return err
	}
	return process.Detach(ctx, process.Terminal)
}

// execAttached passes streams and signals on, and ends as the command ends.
func (f *runFlags) execAttached(ctx context.Context, c *sandbox.Attached, spec *sandbox.Spec, e sandbox.ExecSpec) error {
	session, err := f.openSession(spec)
	if err != nil {
		return err
	}
	defer session.close()
	signals := catchSignals()
	defer signals.stop()
	process, err := c.Exec(ctx, e, session.streams)
	session.started()
	if err != nil {
		return err
	}
	go signals.forward(ctx, process)
	if err := session.attach(process.Terminal); err != nil {
		return err
	}
	exit, detached, err := session.stay(ctx, process.Wait)
	if detached {
		session.restore()
		return process.Detach(ctx, session.giveBack()[0])
	}
	if sandbox.CodeOf(err) == sandbox.CodeAlreadyFinished { // it was killed together with the keeper
		exit, err = sandbox.Exit{Code: 128 + int(syscall.SIGKILL)}, nil
	}
	if err != nil {
		return err
	}
	return exitError{code: exit.Code}
}
