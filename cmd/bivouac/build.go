package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

const buildLong = `Build an image from a Dockerfile, as "docker build" does, without a daemon and without root. The image goes into the store.

PATH is a directory. "-" reads a tar archive, or a Dockerfile that needs no files, from the standard input; a URL of an
archive or a Dockerfile is fetched. Files that .dockerignore names are left out.

Each RUN is executed in a container of its own, with the host's network unless --network none. What a step has made is
kept by the content that went into it and taken again when that is the same, also by other builds and after a build that
was broken off. Secrets and agents are there for the step that mounts them, and in no layer, log or cache.

A failed step prints the end of its output and the lines of the Dockerfile around it; the exit code then is 59.`

const buildExample = `  bivouac build -t app .
  bivouac build -t app --target test --build-arg VERSION=1.2 --progress plain .
  bivouac build -t app --secret id=token,src=token.txt .
  bivouac build -o type=local,dest=out --target artifacts .
  printf 'FROM busybox\nRUN date > /built\n' | bivouac build -t stamped -`

func newBuildCommand() *cobra.Command {
	f := &buildFlags{}
	cmd := &cobra.Command{
		Use:     "build [flags] PATH|URL|-",
		Short:   "Build an image from a Dockerfile",
		Long:    buildLong,
		Example: buildExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf("build needs one context, and got %d arguments; give a directory, such as . (the current one), a URL or -", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.register(cmd.Flags())
	return cmd
}

// run is the verb: gather what the build needs, have it built, and say what came of it.
func (f *buildFlags) run(cmd *cobra.Command, path string) error {
	ctx, free := interruptible(cmd.Context(), "the steps that were finished are kept for the next build")
	defer free()
	source, err := f.openContext(ctx, cmd.InOrStdin(), path)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer source.remove()
	spec, err := f.spec(source)
	if err != nil {
		return err
	}
	if f.outcome, err = f.openOutput(spec); err != nil {
		return err
	}
	defer f.outcome.remove()
	info, err := f.build(ctx, spec)
	if err != nil {
		return causeOf(ctx, err)
	}
	return f.conclude(cmd.OutOrStdout(), info)
}

// build has the image built while its progress is shown.
func (f *buildFlags) build(ctx context.Context, spec *sandbox.BuildSpec) (sandbox.ImageInfo, error) {
	client, err := startClient(ctx)
	if err != nil {
		return sandbox.ImageInfo{}, err
	}
	view := f.newView(os.Stderr)
	info, err := client.Build(ctx, *spec, view.event)
	view.finish(err)
	if err == nil && info.ID != "" {
		view.made(info.ID, f.givenNames())
	}
	return info, errors.Join(err, client.Close())
}

// givenNames are the names of the image as listings have them.
func (f *buildFlags) givenNames() []string {
	names := slices.Clone(f.tags)
	for i, name := range names {
		if ref, err := rootfs.ParseReference(name); err == nil {
			names[i] = imageName(ref.String())
		}
	}
	return names
}

// conclude writes what scripts want to know of the image.
func (f *buildFlags) conclude(out io.Writer, info sandbox.ImageInfo) error {
	if err := f.outcome.deliver(out); err != nil {
		return err
	}
	if f.iidFile != "" {
		if err := os.WriteFile(f.iidFile, []byte(info.ID), 0o644); err != nil {
			return fmt.Errorf("write the image's id: %w", err)
		}
	}
	if err := f.writeMetadata(info); err != nil {
		return err
	}
	if f.quiet && info.ID != "" {
		_, err := fmt.Fprintln(out, printable(info.ID))
		return err
	}
	return nil
}
