package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// inspectFlags are those of the verb inspect.
type inspectFlags struct {
	format, platform, kind string
	size                   bool
}

// The kinds of what can be inspected.
const (
	kindContainer = "container"
	kindImage     = "image"
	kindVolume    = "volume"
)

func newInspectCommand() *cobra.Command {
	f := &inspectFlags{}
	cmd := &cobra.Command{
		Use:   "inspect [flags] NAME|ID...",
		Short: "Show all that is known about containers, images and volumes",
		Long: `Show all that is known about containers, images of the store and volumes, as a JSON array with Docker's names for things. Of
several that have the name, the container comes before the image, and that before the volume, unless --type tells.

An ID is that of the container, of the image, or the digest of the image's manifest; its beginning is enough where no other
begins so, of an image's at least four characters. Templates use the names of the JSON, and the functions json, upper, lower,
title, split, join, pad and truncate.`,
		Example: `  bivouac inspect web
  bivouac inspect -f '{{.State.Status}} {{.State.ExitCode}}' web
  bivouac inspect --format '{{.Architecture}} {{join .Config.Env " "}}' postgres:16`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.platform, "platform", "", "inspect the image for `OS/ARCH[/VARIANT]` instead of the machine's")
	cmd.Flags().StringVar(&f.kind, "type", "", "inspect only what is of a `TYPE`: container, image or volume")
	return cmd
}

// newInspectOfImages is for the group image.
func newInspectOfImages() *cobra.Command {
	f := &inspectFlags{kind: kindImage}
	cmd := &cobra.Command{
		Use:   "inspect [flags] IMAGE...",
		Short: "Show all that is known about images of the store",
		Long: `Show all that is known about images of the store, as a JSON array with Docker's names for things.

IMAGE is a name, an id, or the digest of the image's manifest; the first four characters are enough if no other image's begin so.
Templates use the names of the JSON, and the functions json, upper, lower, title, split, join, pad and truncate.`,
		Example: `  bivouac inspect postgres:16
  bivouac inspect --format '{{json .RootFS.Layers}}' alpine`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	cmd.Flags().StringVarP(&f.format, "format", "f", "", fmt.Sprintf(formatUsage, "Id"))
	cmd.Flags().StringVar(&f.platform, "platform", "", "inspect the image for `OS/ARCH[/VARIANT]` instead of the machine's")
	return cmd
}

func newContainerInspectCommand() *cobra.Command {
	f := &inspectFlags{kind: kindContainer}
	cmd := &cobra.Command{
		Use:   "inspect [flags] CONTAINER...",
		Short: "Show all that is known about containers",
		Long: `Show all that is known about containers, as a JSON array with Docker's names for things. Templates use the names of the JSON, and
the functions json, upper, lower, title, split, join, pad and truncate. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac container inspect web
  bivouac container inspect -f '{{json .State}}' web`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	f.register(cmd)
	return cmd
}

func (f *inspectFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.format, "format", "f", "", fmt.Sprintf(formatUsage, "Id"))
	cmd.Flags().BoolVarP(&f.size, "size", "s", false, "show how much a container has written to its file system, and its size with the image")
}

// run prints what is there, as Docker does, and then fails for the rest.
func (f *inspectFlags) run(cmd *cobra.Command, names []string) error {
	if err := oneOf("--type", f.kind, "", kindContainer, kindImage, kindVolume); err != nil {
		return usageErrorf("--type %q: use container, image or volume", f.kind)
	}
	found := []any{}
	failed := forEach(os.Stderr, names, func(name string) error {
		one, err := f.find(cmd.Context(), name)
		if err == nil {
			found = append(found, one)
		}
		return err
	})
	if err := f.write(cmd.OutOrStdout(), found); err != nil {
		return err
	}
	return failed
}

// find returns the first of the kinds that there is.
//
// Errors: CodeNotFound.
func (f *inspectFlags) find(ctx context.Context, name string) (any, error) {
	finders := []struct {
		kind string
		find func(context.Context, string) (any, error)
	}{{kindContainer, f.findContainer}, {kindImage, f.findImage}, {kindVolume, findVolume}}
	for _, finder := range finders {
		if f.kind != "" && f.kind != finder.kind {
			continue
		}
		found, err := finder.find(ctx, name)
		if f.kind != "" || err == nil || !isAbsent(err) {
			return found, err
		}
	}
	return nil, sandbox.Errorf(sandbox.CodeNotFound, "inspect %q: there is no such container, image or volume", name).
		WithRemedy("see bivouac ps -a, bivouac images and bivouac volume ls")
}

// isAbsent tells whether a name may be that of something else.
func isAbsent(err error) bool {
	switch codeOf(err) {
	case sandbox.CodeNotFound, sandbox.CodeBadReference:
		return true
	}
	return false
}

func (f *inspectFlags) findImage(_ context.Context, name string) (any, error) {
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	return store.Inspect(storedName(name), f.platform)
}

func findVolume(_ context.Context, name string) (any, error) {
	v, err := sandbox.ReadVolume(name)
	if err != nil {
		return nil, err
	}
	return inspectionOf(&v), nil
}

func (f *inspectFlags) write(w io.Writer, found []any) error {
	switch f.format {
	case "":
		return writeIndented(w, found)
	case "json":
		return writeJSON(w, [][]any{found})
	}
	t, err := parseTemplate(f.format)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, one := range found {
		if image, ok := one.(rootfs.Inspection); ok {
			if one, err = templateObject(image); err != nil {
				return err
			}
		}
		if err := t.Execute(&out, one); err != nil {
			return badField(err, one)
		}
		out.WriteByte('\n')
	}
	return show(w, out.Bytes())
}

func writeIndented(w io.Writer, v any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return show(w, out.Bytes())
}
