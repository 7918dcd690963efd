package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newCommitCommand() *cobra.Command {
	spec := sandbox.CommitSpec{}
	cmd := &cobra.Command{
		Use:   "commit [flags] CONTAINER [NAME[:TAG]]",
		Short: "Make an image of a container's changed files and configuration",
		Long: `Make an image of a container, whether it runs or not: one more layer with the files that it has changed, on those of its image,
and its configuration. What lies on mounts and volumes is not in it. A program that runs is paused while its files are read.

The configuration is the image's with what the container was made with: command, environment, user, working directory, labels,
ports. --change gives one more instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL,
STOPSIGNAL, USER, VOLUME or WORKDIR.

The image's id is printed. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac commit web web:patched
  bivouac commit -m 'with tools' -c 'CMD ["serve"]' -c 'ENV MODE=test' web tools`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				spec.Name = args[1]
			}
			ctx, free := interruptible(cmd.Context(), "no image was made")
			defer free()
			return causeOf(ctx, withContainer(ctx, args[0], func(o *opened) error { return commitContainer(ctx, cmd, o, spec) }))
		},
	}
	cmd.Flags().StringVarP(&spec.Author, "author", "a", "", "`AUTHOR`, as 'Ann <ann@example.org>'")
	cmd.Flags().StringVarP(&spec.Message, "message", "m", "", "`TEXT` for the image's history")
	cmd.Flags().StringArrayVarP(&spec.Changes, "change", "c", nil, "apply an `INSTRUCTION` of a Dockerfile to the configuration")
	cmd.Flags().BoolVarP(&spec.Pause, "pause", "p", true, "pause the program while its files are read")
	return cmd
}

func commitContainer(ctx context.Context, cmd *cobra.Command, o *opened, spec sandbox.CommitSpec) error {
	image, err := o.Commit(ctx, spec, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), image.ID)
	return err
}
