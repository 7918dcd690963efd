package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// imageVerbs are those of the group: some are called otherwise without it.
func imageVerbs() []func() *cobra.Command {
	return []func() *cobra.Command{
		newImageBuildCommand, newHistoryCommand, newImportCommand, newImageInspectCommand, newLoadCommand, newImageLsCommand,
		newImagePruneCommand, newPullCommand, newPushCommand, newImageRmCommand, newSaveCommand, newTagCommand, newImageTreeCommand,
	}
}

func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "image COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Everything that can be done with images",
		Long: `Everything that can be done with images. Most commands are there without "image" too, "ls" and "rm" as images and rmi; "tree"
shows which images share which layers.`,
		Example: `  bivouac image ls
  bivouac image tree`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("unknown command %q for bivouac image; see %q", args[0], cmd.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, make := range imageVerbs() {
		sub := make()
		if len(os.Args) > 2 && os.Args[1] == "image" && (os.Args[2] == sub.Name() || sub.HasAlias(os.Args[2])) {
			cmd.ResetCommands()
			cmd.AddCommand(sub)
			return cmd
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

// called is a command by another name, in its examples too.
func called(cmd *cobra.Command, name string, aliases ...string) *cobra.Command {
	old := cmd.Name()
	cmd.Use = name + strings.TrimPrefix(cmd.Use, old)
	cmd.Aliases = aliases
	cmd.Example = strings.ReplaceAll(cmd.Example, "bivouac "+old, "bivouac image "+name)
	return cmd
}

func newImageLsCommand() *cobra.Command { return called(newImagesCommand(), "ls", "list") }

func newImageRmCommand() *cobra.Command { return called(newRmiCommand(), "rm", "remove") }

func newImageBuildCommand() *cobra.Command { return called(newBuildCommand(), "build") }

func newImageInspectCommand() *cobra.Command { return called(newInspectOfImages(), "inspect") }
