package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes command lines in a shell",
		Long: `Print a script that completes command lines in a shell: commands, flags, images of the store, platforms.

Load it into the shell that runs, or write it to a file that every shell reads:
  bash  ~/.local/share/bash-completion/completions/bivouac  (needs the package bash-completion)
  zsh   _bivouac in a directory of $fpath
  fish  ~/.config/fish/completions/bivouac.fish`,
		Example: `  source <(bivouac completion bash)
  bivouac completion fish | source`,
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
	switch cmd.Name() {
	case "run":
		cmd.ValidArgsFunction = completeFirst(completeSources)
	case "inspect":
		cmd.ValidArgsFunction = completeImages
	case "images":
		cmd.ValidArgsFunction = completeFirst(completeImages)
	case "exec", "port", "logs":
		cmd.ValidArgsFunction = completeFirst(completeContainers)
	case "checkpoint":
		cmd.ValidArgsFunction = completeCheckpoint
	case "restore":
		cmd.ValidArgsFunction = completeFirst(completeSnapshots)
	case "snapshot":
		addSnapshotCompletions(cmd)
	case "rm":
		cmd.ValidArgsFunction = completeRemovable
	case "pull":
		cmd.ValidArgsFunction = completeSources
	}
	for flag, values := range map[string][]string{
		"platform": {"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/riscv64", "linux/s390x"},
		"pull":     {"missing\tif the store has none", "always\task whether the name means another image by now", "never\tuse the store alone"},
		"network":  {"none\ta loopback of its own", "host\tthe network of this machine"},
		"limits":   {"strict\tfail where a limit cannot be enforced", "best-effort\twarn"},
		"format":   {"json", "table"},
		"filter":   {"reference="},

		"processes": {"auto\twhere that is possible", "required\tor fail", "never\tfiles alone"},
	} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, complete(values)) // fails only for a flag that is not there
		}
	}
}

func addSnapshotCompletions(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		switch sub.Name() {
		case "inspect", "rm":
			sub.ValidArgsFunction = completeSnapshots
		case "export":
			sub.ValidArgsFunction = completeFirst(completeSnapshots)
		}
	}
}

func complete(values []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFirst completes the first argument alone. What follows belongs to a container, of which the shell knows
// nothing.
func completeFirst(first cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return first(cmd, args, toComplete)
	}
}

// completeImages offers the names of the store's images.
func completeImages(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	list, err := storedImages()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range list {
		if name := displayName(s); strings.HasPrefix(name, toComplete) {
			names = append(names, cobra.CompletionWithDesc(name, humanSize(s.Size)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSources offers also what is in no store. After a transport's name comes a path, which is the shell's to
// complete.
func completeSources(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names, directive := completeImages(cmd, args, toComplete)
	for _, t := range []rootfs.Transport{rootfs.OCI, rootfs.OCIArchive, rootfs.DockerArchive, rootfs.Rootfs, rootfs.Host} {
		prefix := string(t) + ":"
		if strings.HasPrefix(toComplete, prefix) {
			return nil, cobra.ShellCompDirectiveDefault
		}
		if strings.HasPrefix(prefix, toComplete) {
			names = append(names, prefix)
		}
	}
	return names, directive | cobra.ShellCompDirectiveNoSpace
}
