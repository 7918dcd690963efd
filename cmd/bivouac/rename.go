package main

import (
	"github.com/spf13/cobra"
)

func newRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "rename CONTAINER NAME",
		DisableFlagsInUseLine: true,
		Short:                 "Give a container another name",
		Long: `Give a container another name, whether it runs or not. Its host name stays. CONTAINER is its name, or its id or the beginning
of that.`,
		Example: `  bivouac rename web web-old`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withContainer(cmd.Context(), args[0], func(o *opened) error { return o.Rename(cmd.Context(), args[1]) })
		},
	}
}
