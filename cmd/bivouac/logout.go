package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

func newLogoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "logout [SERVER]",
		DisableFlagsInUseLine: true,
		Short:                 "Forget the credentials for a registry",
		Long: `Forget the credentials for a registry, by default Docker Hub: those in Docker's config.json, and those that the credential
helper keeps that it names. The registry is not asked.`,
		Example: `  bivouac logout registry.example.com:5000`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := rootfs.ParseServer(strings.Join(args, ""))
			if err != nil {
				return err
			}
			found, err := server.Forget()
			if err != nil {
				return err
			}
			text := "Removing login credentials for "
			if !found {
				text = "Not logged in to "
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text+printable(server.Host))
			return err
		},
	}
}
