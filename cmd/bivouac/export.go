package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func newExportCommand() *cobra.Command {
	file := "-"
	cmd := &cobra.Command{
		Use:   "export [flags] CONTAINER",
		Short: "Write the file system of a container to a tar file",
		Long: `Write the whole file system of a container to a tar file, whether it runs or not: without what lies on its mounts and volumes,
and without its image's layers, history and configuration. bivouac import makes an image of it. CONTAINER is a name, or an id or
its beginning.`,
		Example: `  bivouac export -o web.tar web
  bivouac export web | tar -t`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if file == "-" && isTerminal(out) {
				return usageErrorf("write a file system to a terminal: give a file with -o, or redirect the output")
			}
			ctx, free := interruptible(cmd.Context(), "nothing was written")
			defer free()
			return causeOf(ctx, withContainer(ctx, args[0], func(o *opened) error { return exportContainer(ctx, out, o, file) }))
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "-", "write to `FILE`; - is standard output")
	return cmd
}

func exportContainer(ctx context.Context, out io.Writer, o *opened, file string) error {
	tar, err := o.Export(ctx)
	if err != nil {
		return err
	}
	defer tar.Close()
	if file == "-" {
		_, err = io.Copy(out, tar)
	} else {
		err = writeAside(file, tar)
	}
	if err == nil {
		emit("export", o.Info, nil)
	}
	return err
}
