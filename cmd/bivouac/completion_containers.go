package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func isRunning(s sandbox.Status) bool { return s.State == sandbox.StateRunning }
func isPaused(s sandbox.Status) bool  { return s.State == sandbox.StatePaused }
func isStopped(s sandbox.Status) bool { return !isUp(s.State) }
func isAlive(s sandbox.Status) bool   { return isUp(s.State) }

// completeContainers offers the names of all containers.
func completeContainers(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	return completeThose(func(sandbox.Status) bool { return true })(cmd, args, toComplete)
}

// completeThose offers the names of some containers that are not among the arguments yet.
func completeThose(fits func(sandbox.Status) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		list, _ := sandbox.Containers(completionContext(cmd)) // those that answer
		var names []string
		for _, s := range list {
			if fits(s) && strings.HasPrefix(s.Name, toComplete) && !slices.Contains(args, s.Name) {
				names = append(names, cobra.CompletionWithDesc(s.Name, imageName(s.Image.Name)))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func completionContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// completeCopy offers CONTAINER: and leaves local paths to the shell.
func completeCopy(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := completeContainers(cmd, nil, toComplete)
	for i, name := range names {
		name, about, _ := strings.Cut(name, "\t")
		names[i] = cobra.CompletionWithDesc(name+":", about)
	}
	return names, cobra.ShellCompDirectiveNoSpace
}

// completePorts offers the published ports of the container that is the first argument.
func completePorts(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	list, _ := sandbox.Containers(completionContext(cmd))
	var ports []string
	for _, s := range list {
		for _, p := range s.Ports {
			port := strconv.Itoa(int(p.Port)) + "/" + p.Protocol
			if s.Name == args[0] && strings.HasPrefix(port, toComplete) {
				ports = append(ports, port)
			}
		}
	}
	return ports, cobra.ShellCompDirectiveNoFileComp
}

// completeInspectable offers containers, images and volumes, or of these what --type says.
func completeInspectable(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	kind := ""
	if flag := cmd.Flags().Lookup("type"); flag != nil {
		kind = flag.Value.String()
	} else { // container inspect
		kind = kindContainer
	}
	var names []string
	for _, k := range []struct {
		name     string
		complete cobra.CompletionFunc
	}{{kindContainer, completeContainers}, {kindImage, completeImages}, {kindVolume, completeVolumes}} {
		if kind == "" || kind == k.name {
			found, _ := k.complete(cmd, args, toComplete)
			names = append(names, found...)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
