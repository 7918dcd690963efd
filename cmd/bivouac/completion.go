package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "completion bash|zsh|fish|powershell",
		DisableFlagsInUseLine: true,
		Short:                 "Print a script that completes command lines in a shell",
		Long: `Print a script that completes command lines in a shell: commands, flags, the names of containers,
images, volumes and snapshots, and what flags can be given.

Load it into the shell that runs, or write it to a file that every shell reads:
  bash  ~/.local/share/bash-completion/completions/bivouac  (needs the package bash-completion)
  zsh   _bivouac in a directory of $fpath
  fish  ~/.config/fish/completions/bivouac.fish`,
		Example: `  source <(bivouac completion bash)
  bivouac completion fish >~/.config/fish/completions/bivouac.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeCompletion(cmd.OutOrStdout(), cmd.Root(), args[0])
		},
	}
}

func writeCompletion(w io.Writer, root *cobra.Command, shell string) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	return root.GenPowerShellCompletionWithDesc(w)
}

// addCompletions tells shells what fits where. It is called only where a shell asks.
func addCompletions(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		addCompletions(sub)
	}
	if !cmd.HasSubCommands() && len(cmd.ValidArgs) == 0 {
		cmd.ValidArgsFunction = argCompletion(strings.TrimPrefix(cmd.CommandPath(), "container "))
	}
	addFlagCompletions(cmd)
}

// argCompletion completes the arguments of the command at a path. Nil leaves them to the shell, as files.
func argCompletion(path string) cobra.CompletionFunc {
	tables := []map[string]cobra.CompletionFunc{containerArgs(), imageArgs(), otherArgs()}
	for _, table := range tables {
		if completion, ok := table[path]; ok {
			return completion
		}
	}
	return cobra.NoFileCompletions
}

func containerArgs() map[string]cobra.CompletionFunc {
	anyOne, running := completeInOrder(completeContainers), completeThose(isRunning)
	return map[string]cobra.CompletionFunc{
		"attach": completeInOrder(running), "exec": completeInOrder(running), "top": completeInOrder(running),
		"pause": running, "stop": completeThose(isAlive), "kill": completeThose(isAlive), "stats": completeThose(isAlive),
		"unpause": completeThose(isPaused), "start": completeThose(isStopped),
		"diff": anyOne, "export": anyOne, "logs": anyOne, "rename": anyOne, "port": completeInOrder(completeContainers, completePorts),
		"rm": completeContainers, "restart": completeContainers, "update": completeContainers, "wait": completeContainers,
		"inspect": completeInspectable, "cp": completeCopy, "commit": completeInOrder(completeContainers, completeImages),
		"checkpoint": completeInOrder(completeContainers, completeSnapshots),
	}
}

func imageArgs() map[string]cobra.CompletionFunc {
	byName := map[string]cobra.CompletionFunc{
		"history": completeInOrder(completeImages), "push": completeInOrder(completeImages), "tag": completeInOrder(completeImages, completeImages),
		"save": completeImages, "pull": completeSources, "import": completeInOrder(nil, completeImages), "build": completeDirectory,
	}
	all := map[string]cobra.CompletionFunc{
		"run": completeInOrder(completeSources), "create": completeInOrder(completeSources),
		"images": completeInOrder(completeImages), "image ls": completeInOrder(completeImages),
		"rmi": completeImages, "image rm": completeImages, "image inspect": completeImages, "image tree": completeImages,
		"builder build": completeDirectory, "buildx build": completeDirectory,
	}
	for name, completion := range byName {
		all[name], all["image "+name] = completion, completion
	}
	return all
}

func otherArgs() map[string]cobra.CompletionFunc {
	return map[string]cobra.CompletionFunc{
		"volume inspect": completeVolumes, "volume rm": completeVolumes,
		"restore": completeInOrder(completeSnapshots), "snapshot export": completeInOrder(completeSnapshots),
		"snapshot inspect": completeSnapshots, "snapshot rm": completeSnapshots, "snapshot import": nil,
		"login": completeInOrder(completeRegistries), "logout": completeInOrder(completeRegistries),
		"try": nil, "test": nil, "test-exec": nil,
	}
}

// completeInOrder completes each argument in its own way, nil as a file, and none after them: what follows belongs to a
// container, of which the shell knows nothing.
func completeInOrder(each ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if each[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return each[len(args)](cmd, args, toComplete)
	}
}
