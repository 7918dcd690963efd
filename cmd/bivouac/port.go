package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newPortCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "port CONTAINER [PORT[/PROTOCOL]]",
		DisableFlagsInUseLine: true,
		Short:                 "Print where a container's ports are published",
		Long: `Print which addresses of this machine reach the ports of a container that were published by -p or -P: all of them, or of one
port the addresses alone. PROTOCOL is tcp unless it is udp. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac port web
  curl "http://$(bivouac port web 80)/"`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printPorts(cmd.Context(), cmd.OutOrStdout(), args[0], args[1:])
		},
	}
}

func printPorts(ctx context.Context, w io.Writer, container string, wanted []string) error {
	st, err := sandbox.Find(ctx, container)
	if err != nil {
		return err
	}
	if len(wanted) > 0 {
		return printPort(w, &st, wanted[0])
	}
	var lines []string
	for _, p := range st.Ports {
		lines = append(lines, portName(p)+" -> "+hostAddress(p)+"\n")
	}
	_, err = io.WriteString(w, strings.Join(lines, ""))
	return err
}

func printPort(w io.Writer, c *sandbox.Status, wanted string) error {
	number, protocol, given := strings.Cut(wanted, "/")
	if !given {
		protocol = "tcp"
	}
	if _, err := strconv.ParseUint(number, 10, 16); err != nil || !slices.Contains([]string{"tcp", "udp"}, protocol) {
		return usageErrorf("read port %q: needs a number, or a number and a protocol such as 53/udp", wanted)
	}
	name := number + "/" + protocol
	found := false
	for _, p := range c.Ports {
		if portName(p) == name {
			found = true
			if _, err := fmt.Fprintln(w, hostAddress(p)); err != nil {
				return err
			}
		}
	}
	if !found {
		return sandbox.Errorf(sandbox.CodeNotFound, "print port %s of container %q: it is not published", name, c.Name).
			WithRemedy("publish it by bivouac run -p %s", number)
	}
	return nil
}
