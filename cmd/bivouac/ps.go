package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// psFlags are those of the verb ps.
type psFlags struct {
	all, quiet, noTrunc bool
	format              string
}

func newPsCommand() *cobra.Command {
	f := &psFlags{}
	cmd := &cobra.Command{
		Use:   "ps [flags]",
		Short: "List running containers",
		Long: `List the containers of yours that run: those of "bivouac run" and "bivouac test", wherever they were started, and those that
a Go program left behind on purpose. There is no daemon to ask: each is asked itself, by a socket in
$XDG_RUNTIME_DIR/bivouac, which vanishes with it.`,
		Example: `  bivouac ps
  bivouac ps --format '{{.Names}}: {{.Ports}}'
  bivouac rm -f $(bivouac ps -aq)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "list also containers whose program does not run")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only ids")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "print ids and commands in full")
	cmd.Flags().StringVar(&f.format, "format", "", fmt.Sprintf(formatUsage, "Names"))
	return cmd
}

func (f *psFlags) run(ctx context.Context, w io.Writer) error {
	list, failed := sandbox.Containers(ctx)
	if !f.all {
		list = slices.DeleteFunc(list, func(s sandbox.Status) bool {
			return s.State != sandbox.StateRunning && s.State != sandbox.StatePaused
		})
	}
	return errors.Join(f.write(w, f.rows(list, time.Now())), failed)
}

// containerRow is a container as it is printed. Its fields have Docker's names.
type containerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Status, State, Ports, Names, Labels string
}

var containerHeader = containerRow{
	ID: "CONTAINER ID", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED", Status: "STATUS",
	State: "STATE", Ports: "PORTS", Names: "NAMES", Labels: "LABELS",
}

func (f *psFlags) rows(list []sandbox.Status, now time.Time) []containerRow {
	rows := make([]containerRow, len(list))
	for i, s := range list {
		rows[i] = containerRow{
			ID: s.ID[:min(12, len(s.ID))], Image: imageName(s.Image.Name), Command: quotedCommand(s.Args, 20),
			CreatedAt: s.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"), RunningFor: units.HumanDuration(now.Sub(s.Created)) + " ago",
			Status: describeStatus(s, now), State: string(s.State), Ports: describePorts(s), Names: s.Name, Labels: describeLabels(s.Labels),
		}
		if f.noTrunc {
			rows[i].ID, rows[i].Command = s.ID, quotedCommand(s.Args, -1)
		}
	}
	return rows
}

// imageName is the name that people use: without Docker Hub's, which nobody writes.
func imageName(full string) string {
	name, hub := strings.CutPrefix(full, "docker.io/")
	if official, ok := strings.CutPrefix(name, "library/"); hub && ok {
		name = official
	}
	return printable(name)
}

// quotedCommand is the command in quotes as Docker has it, of at most limit characters unless that is negative.
func quotedCommand(args []string, limit int) string {
	words := slices.Clone(args)
	for i, w := range words {
		if strings.Contains(w, " ") {
			words[i] = "'" + w + "'"
		}
	}
	text := []rune(printable(strings.Join(words, " ")))
	if limit >= 0 && len(text) > limit {
		text = append(text[:limit-1], '…')
	}
	return strconv.Quote(string(text))
}

func describeStatus(s sandbox.Status, now time.Time) string {
	switch s.State {
	case sandbox.StateRunning:
		return "Up " + units.HumanDuration(now.Sub(s.Started))
	case sandbox.StatePaused:
		return "Up " + units.HumanDuration(now.Sub(s.Started)) + " (Paused)"
	case sandbox.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", s.Exit.Code, units.HumanDuration(now.Sub(s.Finished)))
	}
	return "Created"
}

// describePorts lists published ports, and then those that the image exposes to no avail.
func describePorts(s sandbox.Status) string {
	var texts []string
	published := map[string]bool{}
	for _, p := range s.Ports {
		texts = append(texts, hostAddress(p)+"->"+portName(p))
		published[portName(p)] = true
	}
	for _, e := range s.ExposedPorts {
		if !published[e] {
			texts = append(texts, printable(e))
		}
	}
	return strings.Join(texts, ", ")
}

func hostAddress(p sandbox.PortMapping) string {
	return net.JoinHostPort(p.HostIP, strconv.Itoa(int(p.HostPort)))
}

// portName is PORT/PROTOCOL.
func portName(p sandbox.PortMapping) string {
	protocol := p.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	return strconv.Itoa(int(p.Port)) + "/" + protocol
}

func describeLabels(labels map[string]string) string {
	var texts []string
	for name, value := range labels {
		texts = append(texts, printable(name+"="+value))
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

func (f *psFlags) write(w io.Writer, rows []containerRow) error {
	const columns = `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`
	return writeListing(w, f.format, f.quiet, columns, rows, containerHeader)
}

// completeContainers offers the names of containers that can be found.
func completeContainers(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	list, _ := sandbox.Containers(ctx) // those that answer
	var names []string
	for _, s := range list {
		if strings.HasPrefix(s.Name, toComplete) {
			names = append(names, cobra.CompletionWithDesc(s.Name, imageName(s.Image.Name)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeRemovable offers also the containers that were kept.
func completeRemovable(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names, directive := completeContainers(cmd, args, toComplete)
	dir, err := keptDir()
	if err != nil {
		return names, directive
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), toComplete) {
			names = append(names, cobra.CompletionWithDesc(e.Name(), "kept"))
		}
	}
	return names, directive
}
