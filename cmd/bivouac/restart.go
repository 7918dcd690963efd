package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newRestartCommand() *cobra.Command {
	f := &stopFlags{}
	cmd := &cobra.Command{
		Use:   "restart [flags] CONTAINER...",
		Short: "Stop containers that run, and start them again",
		Long: `Stop containers that are kept, if they run, as bivouac stop does, and start them. CONTAINER is a name, or an id or its
beginning.`,
		Example: `  bivouac restart web
  bivouac restart -t 1 web db`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			spec, err := f.spec(cmd.Flags())
			if err != nil {
				return err
			}
			return eachContainerAtOnce(cmd, names, func(ctx context.Context, name string) error { return f.restart(ctx, name, spec) })
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *stopFlags) restart(ctx context.Context, name string, spec sandbox.StopSpec) error {
	st, err := sandbox.Find(ctx, name)
	if err != nil {
		return err
	}
	if !st.Kept {
		return sandbox.Errorf(sandbox.CodeInvalid, "restart container %q: it was made to be discarded at its end", name).
			WithRemedy("run it with --name and without --rm")
	}
	if err := f.stop(ctx, st.ID, spec); err != nil {
		return err
	}
	if err := startContainer(ctx, st.ID); err != nil {
		return err
	}
	emit("restart", st.Info, nil)
	return nil
}
