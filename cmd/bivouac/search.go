package main

import "github.com/spf13/cobra"

func newSearchCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "search TERM",
		Short:  "Not there: registries have no search that all of them speak",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			return usageErrorf("search: bivouac has none, as only Docker Hub answers one and the distribution specification knows none; search at https://hub.docker.com, or with skopeo list-tags for the tags of a name")
		},
	}
}
