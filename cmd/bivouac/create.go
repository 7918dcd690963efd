package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// ofRunAlone are the flags of run that are about a program that runs.
var ofRunAlone = []string{"detach", "timeout", "sig-proxy", "detach-keys"}

func newCreateCommand() *cobra.Command {
	f := &runFlags{create: true}
	cmd := &cobra.Command{
		Use:   "create [flags] IMAGE [ARG...]",
		Short: "Make a container without running its command",
		Long: `Make a container that is kept, as bivouac run does, but without running its command, and print its id. Files can be copied into
it; bivouac start runs it. The flags are those of bivouac run.`,
		Example: `  bivouac create --name web -p 8080:80 nginx
  bivouac cp index.html web:/usr/share/nginx/html/
  bivouac start web`,
		Args: needsImage("create"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.runCreate(cmd, args)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the image is the command's
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.register(all)
	all.VisitAll(func(flag *pflag.Flag) {
		if !slices.Contains(ofRunAlone, flag.Name) {
			cmd.Flags().AddFlag(flag)
		}
	})
	freeHelp(cmd)
	refuseDockersFlags(cmd)
	return cmd
}

// needsImage asks for an image among the arguments.
func needsImage(verb string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs an image; see bivouac %s --help", verb, verb)
		}
		return nil
	}
}

func (f *runFlags) runCreate(cmd *cobra.Command, args []string) error {
	spec, err := f.spec(cmd.Flags(), args)
	if err != nil {
		return usageErrorf("%v", err)
	}
	ctx, free := interruptible(cmd.Context(), "nothing was made")
	defer free()
	client, err := startClient(ctx)
	if err != nil {
		return err
	}
	c, err := f.createIn(ctx, client, cmd.OutOrStdout(), spec)
	if err == nil {
		f.tell(c)
	}
	return causeOf(ctx, errors.Join(err, client.Close()))
}

// createIn makes a container, writes down its id and prints it, once it is sure to stay.
func (f *runFlags) createIn(ctx context.Context, client *sandbox.Client, out io.Writer, spec *sandbox.Spec) (*sandbox.Container, error) {
	id, err := f.more.openIDFile()
	if err != nil {
		return nil, err
	}
	defer id.close()
	report, finish := newProgress(os.Stderr, f.quiet)
	c, err := client.Create(ctx, *spec, report)
	finish()
	if err != nil {
		return nil, err
	}
	if err := id.write(c.ID); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintln(out, c.ID)
	return c, err
}
