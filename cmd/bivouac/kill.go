package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newKillCommand() *cobra.Command {
	name := ""
	cmd := &cobra.Command{
		Use:   "kill [flags] CONTAINER...",
		Short: "Kill containers, or send them a signal",
		Long: `Send a signal to the first process of running containers: KILL unless another one is asked for. The kernel drops those that
the process has no handler for, but for KILL and STOP. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac kill web
  bivouac kill -s HUP web`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			number, err := signalNumber("--signal", name)
			if err != nil {
				return err
			}
			return eachContainer(cmd, names, func(ctx context.Context, name string) error { return kill(ctx, name, number) })
		},
	}
	cmd.Flags().StringVarP(&name, "signal", "s", "KILL", "`SIGNAL` to send, a name or a number")
	return cmd
}

// kill sends a signal. With the one that no program survives it waits for the end, so that what comes next finds it.
func kill(ctx context.Context, name string, number int) error {
	return withRunning(ctx, name, "kill", func(a *sandbox.Attached) error {
		const sigkill = 9
		if number == sigkill {
			_, err := a.Stop(ctx, sandbox.StopSpec{Signal: sigkill})
			return ifNotGone(err)
		}
		err := a.Signal(ctx, signalOf(number))
		if sandbox.CodeOf(err) == sandbox.CodeAlreadyFinished {
			return notRunning("kill", name)
		}
		return err
	})
}
