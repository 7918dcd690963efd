package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// volumeCreateFlags are those of the verb volume create.
type volumeCreateFlags struct {
	labels []string
	driver string
}

func newVolumeCreateCommand() *cobra.Command {
	f := &volumeCreateFlags{}
	cmd := &cobra.Command{
		Use:   "create [flags] [NAME]",
		Short: "Make a volume",
		Long: `Make a volume, and print its name. Without NAME it is an anonymous one, whose name is 64 hexadecimal digits. Where there is
one of that name, it stays as it is.`,
		Example: `  bivouac volume create data
  bivouac volume create --label project=demo`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), cmd.OutOrStdout(), args) },
	}
	cmd.Flags().StringArrayVar(&f.labels, "label", nil, "give the volume a label `NAME=VALUE`")
	cmd.Flags().StringVarP(&f.driver, "driver", "d", "local", "`DRIVER` of the volume; local, a directory of the store, is the only one")
	return cmd
}

func (f *volumeCreateFlags) run(ctx context.Context, w io.Writer, names []string) error {
	labels, err := parseLabels(f.labels)
	if err != nil {
		return err
	}
	if f.driver != "local" {
		return usageErrorf("--driver %q: there is no such driver; use local", f.driver)
	}
	r := sandbox.CreateVolumeRequest{Labels: labels}
	if len(names) > 0 {
		r.Name = names[0]
		if r.Name == "" {
			return usageErrorf("create a volume: its name is empty; leave it out, or give one")
		}
	}
	return withVolumes(ctx, func(client *sandbox.Client) error {
		v, err := client.CreateVolume(ctx, r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, v.Name)
		return err
	})
}
