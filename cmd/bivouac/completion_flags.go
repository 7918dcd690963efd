package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// addFlagCompletions tells shells what a command's flags can be given. Of others only those take files whose usage says so.
func addFlagCompletions(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		completion := flagCompletion(cmd, flag)
		if completion == nil && !takesFile(flag) {
			completion = cobra.NoFileCompletions
		}
		if completion != nil && flag.NoOptDefVal != "true" { // a switch
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, completion) // fails only for a flag that is not there
		}
	})
}

func takesFile(flag *pflag.Flag) bool {
	placeholder, _ := pflag.UnquoteUsage(flag)
	return strings.Contains(placeholder, "FILE") || strings.Contains(placeholder, "DIR") || strings.Contains(placeholder, "PAT")
}

// flagCompletion is nil for a flag that can be given anything.
func flagCompletion(cmd *cobra.Command, flag *pflag.Flag) cobra.CompletionFunc {
	switch flag.Name {
	case "format":
		return completeOf(formats(cmd, flag)...)
	case "filter":
		return completeFilter(filterKeys(cmd))
	case "image":
		return completeSources
	case "volumes-from":
		return completeContainers
	case "volume":
		return completeMount
	case "env", "build-arg":
		return completeVariables
	case "output":
		return completeOutput(cmd)
	}
	if values := flagValues(flag.Name); values != nil {
		return completeOf(values...)
	}
	return nil
}

// flagValues are those of a flag that can be given some values alone, or the beginnings of others.
func flagValues(flag string) []string {
	switch flag {
	case "platform":
		return []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/riscv64", "linux/s390x"}
	case "pull":
		return []string{"missing\tif the store has none", "always\task whether the name means another image by now", "never\tuse the store alone"}
	case "network":
		return []string{"none\ta loopback of its own", "host\tthe network of this machine"}
	case "limits":
		return []string{"strict\tfail where a limit cannot be enforced", "best-effort\twarn"}
	case "restart":
		return []string{"no", "on-failure\tafter another exit code than 0", "on-failure:\tthat many times", "always", "unless-stopped"}
	case "type":
		return []string{kindContainer, kindImage, kindVolume}
	case "driver":
		return []string{"local"}
	case "condition":
		return []string{"not-running", "next-exit", "removed"}
	case "processes":
		return []string{"auto\twhere that is possible", "required\tor fail", "never\tfiles alone"}
	case "progress":
		return []string{
			"auto\tas the terminal allows", "tty\ta picture that is drawn again and again", "plain\tlines", "json\tan event on each line",
			"rawjson\tthe same", "quiet\tnothing but why it failed",
		}
	}
	return moreFlagValues(flag)
}

func moreFlagValues(flag string) []string {
	switch flag {
	case "attach":
		return []string{"stdin", "stdout", "stderr"}
	case "log-driver":
		return []string{"json-file", "local\tthe same", "none"}
	case "log-opt":
		return []string{"max-size=", "max-file=", "labels=", "env="}
	case "security-opt":
		return []string{"no-new-privileges", "seccomp=", "seccomp=unconfined", "systempaths=unconfined"}
	case "mount":
		return []string{"type=bind,source=", "type=volume,source=", "type=tmpfs,target="}
	case "signal", "stop-signal":
		return []string{"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH"}
	case "cap-add", "cap-drop":
		return strings.Fields("ALL AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID IPC_LOCK KILL MKNOD NET_ADMIN NET_BIND_SERVICE NET_RAW " +
			"SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_NICE SYS_PTRACE SYS_RESOURCE SYS_TIME")
	case "ulimit":
		return []string{"core=", "cpu=", "data=", "fsize=", "memlock=", "nofile=", "nproc=", "rss=", "stack="}
	case "cache-from", "cache-to":
		return []string{"type=registry,ref="}
	case "ssh":
		return []string{"default"}
	}
	return nil
}

// completeOutput offers what build can write besides directories. Other commands write files.
func completeOutput(cmd *cobra.Command) cobra.CompletionFunc {
	if cmd.Name() != "build" {
		return nil
	}
	return func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		values, directive := completeOf("type=local,dest=", "type=tar,dest=", "type=oci,dest=", "type=docker,dest=")(cmd, nil, toComplete)
		return values, directive &^ cobra.ShellCompDirectiveNoFileComp
	}
}

// formats are those of --format that are no templates.
func formats(cmd *cobra.Command, flag *pflag.Flag) []string {
	switch {
	case cmd.Name() == "save":
		return []string{"docker-archive", "oci-archive", "oci-dir\ta directory"}
	case strings.Contains(flag.Usage, "table"):
		return []string{"json", "table"}
	}
	return []string{"json"}
}

// completeOf offers values, of which those that end with = or : go on.
func completeOf(values ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		var fitting []string
		directive := cobra.ShellCompDirectiveNoFileComp
		for _, text := range values {
			value, _, _ := strings.Cut(text, "\t")
			if !strings.HasPrefix(value, toComplete) {
				continue
			}
			fitting = append(fitting, text)
			if strings.HasSuffix(value, "=") || strings.HasSuffix(value, ":") {
				directive |= cobra.ShellCompDirectiveNoSpace
			}
		}
		return fitting, directive
	}
}

// completeVariables offers those of the environment, whose values are then taken from there.
func completeVariables(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, toComplete) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeMount offers the volumes that could be mounted. Paths are the shell's.
func completeMount(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names, _ := completeVolumes(cmd, nil, toComplete)
	for i, text := range names {
		name, about, _ := strings.Cut(text, "\t")
		names[i] = cobra.CompletionWithDesc(name+":", about)
	}
	return names, cobra.ShellCompDirectiveNoSpace
}
