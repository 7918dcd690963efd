package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// cpFlags are those of the verb cp.
type cpFlags struct{ archive, followLink, quiet bool }

func newCpCommand() *cobra.Command {
	f := &cpFlags{}
	cmd := &cobra.Command{
		Use:   "cp [flags] CONTAINER:SOURCE TARGET|-\n  bivouac cp [flags] SOURCE|- CONTAINER:TARGET",
		Short: "Copy files out of containers and into them",
		Long: `Copy a file or a directory out of a container, or into one, whether it runs or not. Nothing needs to be installed in it.
Its volumes and bind mounts are where they are mounted, and read-only where they are that in the container.

A target that is a directory gets the source in it; of a SOURCE that ends in /. it gets the content. Otherwise the target is the
copy's name, whose directory has to be there, and it has to end in / of a directory alone. - is a tar stream, on standard output,
or on standard input for a directory of the container. Paths in a container count from its root; a local path with a colon
begins with ./ or /.

Copies here belong to you, copies in a container to its root, or with -a to the same numbers. Symlinks are copied as they are.`,
		Example: `  bivouac cp web:/etc/nginx/nginx.conf .
  bivouac cp site/. web:/usr/share/nginx/html
  bivouac cp web:/var/log - | tar -t`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("quiet") {
				f.quiet = !isTerminal(cmd.OutOrStdout())
			}
			return f.run(cmd, args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&f.archive, "archive", "a", false, "keep the numbers of owners")
	cmd.Flags().BoolVarP(&f.followLink, "follow-link", "L", false, "copy what a SOURCE that is a symlink leads to")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "do not tell what was copied; the default without a terminal")
	return cmd
}

func (f *cpFlags) run(cmd *cobra.Command, source, target string) error {
	from, sourcePath := splitCopyArg(source)
	to, targetPath := splitCopyArg(target)
	ctx, free := interruptible(cmd.Context(), "what was copied already is there")
	defer free()
	switch {
	case from != "" && to != "":
		return usageErrorf("copy from container %s to container %s: one side has to be here; pipe one into the other: bivouac cp %s - | bivouac cp - %s", from, to, source, target)
	case from == "" && to == "":
		return usageErrorf("copy %s to %s: neither is in a container; write CONTAINER:PATH", source, target)
	case from != "":
		if targetPath == "-" && isTerminal(cmd.OutOrStdout()) {
			return usageErrorf("write a tar stream to a terminal: give a target, or redirect the output")
		}
		return causeOf(ctx, withContainer(ctx, from, func(o *opened) error {
			return f.copyOut(ctx, cmd.OutOrStdout(), o, sourcePath, targetPath)
		}))
	}
	return causeOf(ctx, withContainer(ctx, to, func(o *opened) error { return f.copyIn(ctx, cmd.InOrStdin(), o, sourcePath, targetPath) }))
}

// splitCopyArg splits CONTAINER:PATH. A path without a container is local: one that is absolute, or begins with a dot, or has no
// colon.
func splitCopyArg(arg string) (container, file string) {
	if filepath.IsAbs(arg) {
		return "", arg
	}
	container, file, ok := strings.Cut(arg, ":")
	if !ok || strings.HasPrefix(container, ".") {
		return "", arg
	}
	return container, file
}

// wantsContent tells whether a path means what is in a directory, and wantsDirectory whether it cannot be a file.
func wantsContent(name string) bool   { return name == "." || strings.HasSuffix(name, "/.") }
func wantsDirectory(name string) bool { return strings.HasSuffix(name, "/") || wantsContent(name) }

// tellCopied is what Docker prints.
func (f *cpFlags) tellCopied(bytes int64, to string) {
	if !f.quiet {
		fmt.Fprintf(os.Stderr, "Successfully copied %s to %s\n", humanSize(bytes), to)
	}
}

// counter counts what is read.
type counter struct {
	io.Reader
	bytes int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bytes += int64(n)
	return n, err
}

// copyOut copies out of a container.
func (f *cpFlags) copyOut(ctx context.Context, out io.Writer, o *opened, source, target string) error {
	file := path.Clean("/" + source)
	if f.followLink || wantsDirectory(source) && file != "/" {
		var err error
		if file, err = followLinks(o.files(ctx), file); err != nil {
			return fmt.Errorf("copy from %s:%s: %w", o.Name, source, err)
		}
	}
	stream, err := o.CopyFrom(ctx, file)
	if err != nil {
		return err
	}
	defer stream.Close()
	counted := &counter{Reader: stream}
	if target == "-" {
		_, err = io.Copy(out, counted)
	} else {
		x := &extraction{name: path.Base(path.Clean("/" + source)), content: wantsContent(source) || file == "/", mustBeDir: wantsDirectory(source), archive: f.archive}
		err = x.extract(counted, target)
	}
	if err != nil {
		return err
	}
	emit("copy", o.Info, nil)
	if target != "-" {
		f.tellCopied(counted.bytes, target)
	}
	return nil
}

// copyStream unpacks a tar stream in a container.
func copyStream(ctx context.Context, in io.Reader, o *opened, t copyTarget, target string) error {
	if !t.isDir {
		return sandbox.Errorf(sandbox.CodeInvalid, "copy to %s:%s: a tar stream needs a directory that is there", o.Name, target).
			WithRemedy("make it: bivouac exec %s mkdir -p %s", o.Name, target)
	}
	if file, ok := in.(*os.File); ok && isDirectory(file) {
		return usageErrorf("cp -: standard input is a directory; pipe it: tar -C DIRECTORY -c . | bivouac cp - %s:%s", o.Name, target)
	}
	if err := o.CopyTo(ctx, t.path, in); err != nil {
		return err
	}
	emit("copy", o.Info, nil)
	return nil
}

// copyIn copies into a container.
func (f *cpFlags) copyIn(ctx context.Context, in io.Reader, o *opened, source, target string) error {
	t, err := o.findTarget(ctx, target)
	if err != nil {
		return err
	}
	if source == "-" {
		return copyStream(ctx, in, o, t, target)
	}
	p, err := f.pack(source)
	if err != nil {
		return err
	}
	defer p.close()
	dir, err := p.placeIn(t, target)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(p.writeTo(w)) }()
	defer r.Close() //nolint:errcheck // it cannot fail
	counted := &counter{Reader: r}
	if err := o.CopyTo(ctx, dir, counted); err != nil {
		return err
	}
	emit("copy", o.Info, nil)
	f.tellCopied(counted.bytes, o.Name+":"+target)
	return nil
}
