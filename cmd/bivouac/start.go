package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// startFlags are those of the verb start.
type startFlags struct {
	attach, interactive bool
	detachKeys          string
}

func newStartCommand() *cobra.Command {
	f := &startFlags{}
	cmd := &cobra.Command{
		Use:   "start [flags] CONTAINER...",
		Short: "Run the commands of containers that were created or have ended",
		Long: `Run the command of containers that are kept, in the background, with the files as they were left, and print their names. What
runs is left as it is. With -a the output comes here, with -i the input goes there too, and the exit code is the command's;
the detach keys, and the end of this command, leave the container running. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac start web
  bivouac start -ai shell`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if !f.attach && !f.interactive {
				return eachContainer(cmd, names, func(ctx context.Context, name string) error { return startContainer(ctx, name) })
			}
			if len(names) > 1 {
				return usageErrorf("start %d containers with --attach or --interactive: only one can have the terminal; start them one by one", len(names))
			}
			return asRunFailure(f.startAttached(cmd.Context(), names[0]))
		},
	}
	cmd.Flags().BoolVarP(&f.attach, "attach", "a", false, "print the output, pass signals on, and end as the command ends")
	cmd.Flags().BoolVarP(&f.interactive, "interactive", "i", false, "pass standard input on")
	registerDetachKeys(cmd.Flags(), &f.detachKeys)
	return cmd
}

// startContainer starts a container in the background.
func startContainer(ctx context.Context, name string) error {
	o, err := openStopped(ctx, name)
	if err != nil || o == nil {
		return err
	}
	if err := o.startHeld(ctx, sandbox.Streams{Held: true}); err != nil {
		return errors.Join(err, o.close())
	}
	o.client.Abandon()
	return nil
}

// startHeld starts the program of a container that is ours, and has it outlive us.
func (o *opened) startHeld(ctx context.Context, s sandbox.Streams) error {
	config, err := o.Config(ctx)
	if err != nil {
		return err
	}
	if err := o.Start(ctx, s); err != nil {
		return err
	}
	warn(o.Warnings)
	return leaveRunning(ctx, o.Container, config.AutoRemove)
}

// openStopped takes a container over whose program does not run, in a keeper that outlives us. It returns nil for one whose
// program runs.
//
// Errors: CodeInvalid for one that is not kept.
func openStopped(ctx context.Context, name string) (*opened, error) {
	for late := time.Now().Add(openPatience); ; {
		o, err := openWith(ctx, name, startStaying)
		if err != nil || o.guest == nil {
			return o, err
		}
		_ = o.guest.Close() // the container goes on whatever becomes of the connection
		switch {
		case isUp(o.status.State):
			return nil, nil
		case !o.status.Kept:
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "start container %q: it was made to be discarded at its end", name).
				WithRemedy("run it with --name and without --rm")
		case time.Now().After(late):
			return nil, sandbox.Errorf(sandbox.CodeInUse, "start container %q: another command has it", name).WithRemedy("try again")
		}
		select { // its keeper is about to leave, or copies files
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
