package main

import (
	"os"

	"github.com/spf13/cobra"
)

// containerVerbs are those of the group, the same as without it, but for prune.
func containerVerbs() []func() *cobra.Command {
	return []func() *cobra.Command{
		newAttachCommand, newCommitCommand, newCpCommand, newCreateCommand, newDiffCommand, newExecCommand, newExportCommand,
		newContainerInspectCommand, newKillCommand, newLogsCommand, newContainerLsCommand, newPauseCommand, newPortCommand,
		newContainerPruneCommand, newRenameCommand, newRestartCommand, newRmCommand, newRunCommand, newStartCommand,
		newStatsCommand, newStopCommand, newTopCommand, newUnpauseCommand, newUpdateCommand, newWaitCommand,
	}
}

func newContainerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "container COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Everything that can be done with containers",
		Long: `Everything that can be done with containers. The commands are those that are there without "container" too, but for prune, which
removes all containers that do not run.`,
		Example: `  bivouac container ls -a
  bivouac container prune -f`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("unknown command %q for bivouac container; see %q", args[0], cmd.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, make := range containerVerbs() {
		sub := make()
		if len(os.Args) > 2 && os.Args[1] == "container" && (os.Args[2] == sub.Name() || sub.HasAlias(os.Args[2])) {
			cmd.ResetCommands()
			cmd.AddCommand(sub)
			return cmd
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

// newContainerLsCommand is ps under the names that it has in the group.
func newContainerLsCommand() *cobra.Command {
	cmd := newPsCommand()
	cmd.Use, cmd.Aliases = "ls [flags]", []string{"list", "ps"}
	return cmd
}
