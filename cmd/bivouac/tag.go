package main

import (
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

func newTagCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "tag IMAGE NAME[:TAG]",
		DisableFlagsInUseLine: true,
		Short:                 "Give an image a further name",
		Long: `Give an image of the store a further name. Id and digests stay. What had that name before keeps its files, but loses the
name. IMAGE is a name, or an id or its beginning.`,
		Example: `  bivouac tag alpine registry.example.com:5000/team/alpine:3
  bivouac tag $(bivouac images -q alpine) mine:1`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := rootfs.ParseReference(args[1])
			if err != nil {
				return err
			}
			store, err := openStore()
			if err != nil {
				return err
			}
			if err := store.Tag(cmd.Context(), storedName(args[0]), target); err != nil {
				return err
			}
			found, err := store.Inspect(args[1], "")
			if err == nil { // else somebody has removed it meanwhile
				emitImage("tag", found.ID.String(), target.Name())
			}
			return nil
		},
	}
}
