package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// filterKeys are the kinds of filters that a command has.
func filterKeys(cmd *cobra.Command) []string {
	switch cmd.CommandPath() {
	case "ps", "container ls":
		return []string{
			"ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status", "volume",
		}
	case "images", "image ls":
		return []string{"before", "dangling", "label", "label!", "reference", "since", "until"}
	case "volume ls":
		return []string{"dangling", "driver", "label", "name"}
	case "events":
		return []string{"container", "event", "image", "label", "type", "volume"}
	case "image prune":
		return []string{"dangling", "label", "label!", "until"}
	case "volume prune":
		return []string{"all", "label", "label!"}
	}
	return []string{"label", "label!", "until"}
}

// completeFilter offers the kinds of filters, and after the = what such a one can be given.
func completeFilter(keys []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		key, value, found := strings.Cut(toComplete, "=")
		if !found {
			var beginnings []string
			for _, k := range keys {
				beginnings = append(beginnings, k+"=")
			}
			return completeOf(beginnings...)(cmd, nil, toComplete)
		}
		values, directive := filterValues(cmd, key)(cmd, nil, value)
		for i := range values {
			values[i] = key + "=" + values[i]
		}
		return values, directive
	}
}

func filterValues(cmd *cobra.Command, key string) cobra.CompletionFunc {
	switch key {
	case "container", "id", "name":
		return completeContainers
	case "before", "since":
		if cmd.Name() == "ps" || cmd.HasParent() && cmd.Parent().Name() == "container" {
			return completeContainers
		}
		return completeImages
	case "ancestor", "image", "reference":
		return completeImages
	case "volume":
		return completeVolumes
	case "status":
		return completeOf("created", "running", "paused", "restarting", "exited")
	case "health":
		return completeOf("starting", "healthy", "unhealthy", "none")
	case "network":
		return completeOf("none", "host")
	case "dangling", "all":
		return completeOf("true", "false")
	case "type":
		return completeOf(kindContainer, kindImage, kindVolume, "builder")
	case "driver":
		return completeOf("local")
	}
	return cobra.NoFileCompletions
}
