package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

// completeImages offers the names of the store's images that are not among the arguments yet.
func completeImages(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	list, err := storedImages()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range list {
		for _, name := range writtenNames(s, toComplete) {
			if !slices.Contains(args, name) {
				names = append(names, cobra.CompletionWithDesc(name, humanSize(s.Size)))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// writtenNames are the names of an image that begin so: the short one, or the full one where only that does.
func writtenNames(s rootfs.Summary, beginning string) []string {
	for _, name := range []string{displayName(s), printable(s.Name)} {
		if strings.HasPrefix(name, beginning) {
			return []string{name}
		}
	}
	return nil
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

// completeRegistries offers those that images of the store came from.
func completeRegistries(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	list, _ := storedImages()
	var hosts []string
	for _, s := range list {
		ref, err := rootfs.ParseReference(s.Name)
		host, _, _ := strings.Cut(s.Name, "/")
		if err == nil && ref.Transport == rootfs.Registry && strings.HasPrefix(host, toComplete) {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), cobra.ShellCompDirectiveNoFileComp
}

// completeDirectory completes one argument that is a directory.
func completeDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}
