package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newRmiCommand() *cobra.Command {
	r := sandbox.RemoveImagesRequest{}
	cmd := &cobra.Command{
		Use:   "rmi [flags] IMAGE...",
		Short: "Remove images",
		Long: `Remove names of images, and with its last name the image itself: its layers too, unless another image or a container has
them. IMAGE is a name, or an id or its beginning. By its id an image of several names is removed with -f alone.

An image that a container is made from is not removed, with -f only if that container does not run.`,
		Example: `  bivouac rmi alpine
  bivouac rmi -f $(bivouac images -q postgres)
  bivouac rmi $(bivouac images -q --filter dangling=true)`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, images []string) error {
			r.Images = images
			ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
			defer free()
			return causeOf(ctx, removeImages(ctx, cmd.OutOrStdout(), r))
		},
	}
	cmd.Flags().BoolVarP(&r.Force, "force", "f", false, "also remove images of several names, and of containers that do not run")
	return cmd
}

func removeImages(ctx context.Context, out io.Writer, r sandbox.RemoveImagesRequest) error {
	client, err := startClient(ctx)
	if err != nil {
		return err
	}
	err = forEach(os.Stderr, r.Images, func(image string) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		removed, err := client.RemoveImages(ctx, sandbox.RemoveImagesRequest{Images: []string{image}, Force: r.Force})
		return errors.Join(tellRemoved(out, removed), err)
	})
	return errors.Join(err, client.Close())
}

func tellRemoved(out io.Writer, removed []sandbox.RemovedImage) error {
	for _, step := range removed {
		line := "Untagged: " + step.Untagged
		if step.Deleted != "" {
			line = "Deleted: " + step.Deleted
		}
		if _, err := fmt.Fprintln(out, printable(line)); err != nil {
			return err
		}
	}
	return nil
}
