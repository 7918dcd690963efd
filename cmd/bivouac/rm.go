package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove containers that were kept",
		Long: `Remove the files that bivouac run --keep left below containers/NAME in the store. They may belong to subordinate ids, so
that rm -r of the shell cannot.`,
		Example: `  bivouac run --keep --name build debian:12 touch /result
  bivouac rm build`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			client, err := startClient(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			var failures []error
			for _, name := range names {
				failures = append(failures, client.Remove(cmd.Context(), name))
			}
			return errors.Join(failures...)
		},
	}
}
