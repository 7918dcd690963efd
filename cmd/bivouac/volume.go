package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newVolumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "volume COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Make, list and remove volumes",
		Long: `Make, list and remove volumes: directories of the store that containers share and that outlive them. A container
gets one by -v NAME:TARGET, or by a VOLUME of its image if it is kept.`,
		Example: `  bivouac volume create data
  bivouac run --rm -v data:/data busybox touch /data/mine
  bivouac volume rm data`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("unknown command %q of volume; see \"bivouac volume --help\"", args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newVolumeCreateCommand(), newVolumeInspectCommand(), newVolumeLsCommand(), newVolumePruneCommand(), newVolumeRmCommand())
	return cmd
}

// withVolumes calls f with a keeper that ends with it.
func withVolumes(ctx context.Context, f func(*sandbox.Client) error) error {
	client, err := startClient(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(client), client.Close())
}

// completeVolumes offers the names of volumes.
func completeVolumes(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	list, err := sandbox.Volumes(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, v := range list {
		if strings.HasPrefix(v.Name, toComplete) {
			names = append(names, v.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
