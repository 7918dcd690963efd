package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func newDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "diff CONTAINER",
		DisableFlagsInUseLine: true,
		Short:                 "List the files of a container that differ from its image's",
		Long: `List the files that a container has added (A), changed (C) or deleted (D) in its file system, whether it runs or not. What lies
on mounts and volumes is not among them. A directory is changed if its own mode, owner or time is. CONTAINER is a name, or
an id or its beginning.`,
		Example: `  bivouac diff web`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withContainer(cmd.Context(), args[0], func(o *opened) error {
				changes, err := o.Changes(cmd.Context())
				if err != nil {
					return err
				}
				var out bytes.Buffer
				for _, c := range changes {
					fmt.Fprintln(&out, c.Kind, pathLine(c.Path))
				}
				return show(cmd.OutOrStdout(), out.Bytes())
			})
		},
	}
}

// pathLine is a path as it is, or in quotes if it would not stay on its line or could drive a terminal.
func pathLine(path string) string {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}
