package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// verbs are what this program can be told to do. A start builds the command of the verb that it names and no other:
// a cobra command with its flags takes longer to build than to run.
var verbs = []struct {
	name string
	make func() *cobra.Command
}{
	{"run", newRunCommand},
	{"try", newTryCommand},
	{"test", newTestCommand},
	{"test-exec", newTestExecCommand},
	{"create", newCreateCommand},
	{"start", newStartCommand},
	{"stop", newStopCommand},
	{"kill", newKillCommand},
	{"restart", newRestartCommand},
	{"pause", newPauseCommand},
	{"unpause", newUnpauseCommand},
	{"wait", newWaitCommand},
	{"ps", newPsCommand},
	{"port", newPortCommand},
	{"logs", newLogsCommand},
	{"exec", newExecCommand},
	{"update", newUpdateCommand},
	{"top", newTopCommand},
	{"stats", newStatsCommand},
	{"events", newEventsCommand},
	{"attach", newAttachCommand},
	{"cp", newCpCommand},
	{"diff", newDiffCommand},
	{"export", newExportCommand},
	{"rename", newRenameCommand},
	{"container", newContainerCommand},
	{"checkpoint", newCheckpointCommand},
	{"restore", newRestoreCommand},
	{"snapshot", newSnapshotCommand},
	{"volume", newVolumeCommand},
	{"commit", newCommitCommand},
	{"pull", newPullCommand},
	{"push", newPushCommand},
	{"tag", newTagCommand},
	{"rmi", newRmiCommand},
	{"history", newHistoryCommand},
	{"save", newSaveCommand},
	{"load", newLoadCommand},
	{"import", newImportCommand},
	{"login", newLoginCommand},
	{"logout", newLogoutCommand},
	{"search", newSearchCommand},
	{"image", newImageCommand},
	{"build", newBuildCommand},
	{"builder", newBuilderCommand},
	{"buildx", newBuildxCommand},
	{"rm", newRmCommand},
	{"images", newImagesCommand},
	{"inspect", newInspectCommand},
	{"system", newSystemCommand},
	{"info", newInfoCommand},
	{"doctor", newDoctorCommand},
	{"version", newVersionCommand},
	{"completion", newCompletionCommand},
	{"probe", newProbeCommand},
	{probeCRIUVerb, newProbeCRIUCommand},
	{"exit-codes", newExitCodesTopic},
}

// execute does what the command line says and returns the exit code.
func execute() int {
	args := os.Args[1:]
	if err := checkVerb(args); err != nil {
		return conclude(os.Stderr, "", err)
	}
	root := newRootCommand(args)
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	cmd, err := root.ExecuteC()
	if err != nil && !started { // cobra has no type for what is wrong with a command line
		err = asUsageError(cmd, err)
	}
	return conclude(os.Stderr, cmd.Name(), err)
}

// newRootCommand builds the command tree: the one verb that args name, or for help, completion and the like all of them.
func newRootCommand(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "bivouac",
		Short: "Run containers for tests as an ordinary user: no root, no daemon",
		Long: `Bivouac runs containers as an ordinary user: it needs no root, no daemon and no set-up, and nothing that it
starts outlives the command that started it, unless it is told to.

Start with "bivouac doctor", which tells what this machine can do. Images come from registries, from OCI
layouts (oci:DIR), from archives (oci-archive:FILE, docker-archive:FILE), from a directory (rootfs:DIR)
or are the machine itself (host:). They are kept below $XDG_DATA_HOME/bivouac, or $BIVOUAC_HOME.`,
		Example: `  bivouac run alpine echo hello
  bivouac run --rm -it -v "$PWD:/src" -w /src python:3 python3 -m unittest
  bivouac run host: sh -c 'touch /etc/x && ls -l /etc/x'`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetHelpCommand(newHelpCommand())
	if addVerb(root, args) {
		return root
	}
	for _, v := range verbs {
		cmd := v.make()
		addCompletions(cmd)
		root.AddCommand(cmd)
	}
	addGroups(root)
	root.Version = versionLine()
	root.SetVersionTemplate("{{.Version}}\n")
	return root
}

// addVerb adds the verb that args begin with; false if they do not begin with one.
func addVerb(root *cobra.Command, args []string) bool {
	for _, v := range verbs {
		if len(args) > 0 && args[0] == v.name {
			root.AddCommand(v.make())
			return true
		}
	}
	return false
}

// checkVerb refuses a verb that does not exist, before cobra complains about flags that it might have.
func checkVerb(args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil
	}
	others := []string{"help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}
	if isVerb(args[0]) || slices.Contains(others, args[0]) {
		return nil
	}
	return unknownVerb(args[0])
}

func isVerb(name string) bool {
	for _, v := range verbs {
		if v.name == name {
			return true
		}
	}
	return false
}

func unknownVerb(name string) error {
	root := newRootCommand(nil)
	root.SuggestionsMinimumDistance = 2 // wrong letters
	similar := root.SuggestionsFor(name)
	if len(similar) > 0 {
		return usageErrorf(`unknown command %q; did you mean "bivouac %s"?`, name, similar[0])
	}
	return usageErrorf(`unknown command %q; "bivouac help" lists them`, name)
}
