package testkit

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

const (
	evidenceLines   = 50 // of the log
	evidenceEntries = 50 // of each list
	// evidenceTimeout bounds the time to collect all of it: a failed test should not hang as well.
	evidenceTimeout = 5 * time.Second
)

// Evidence returns what is worth knowing of the container when a test has failed, as text of several lines: the command line
// that reproduces it, its state, the last lines of its log, its processes, the ports that it listens on and the files that
// it has changed. What cannot be found out is left out with the reason.
func (c *Container) Evidence(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout)
	defer cancel()
	var text strings.Builder
	fmt.Fprintf(&text, "container %s\n", c)
	fmt.Fprintf(&text, "reproduce: %s\n", c.reproduce())
	fmt.Fprintf(&text, "state: %s\n", c.state())
	for _, warning := range c.info.Warnings {
		fmt.Fprintf(&text, "warning: %s\n", warning)
	}
	for _, p := range c.info.Ports {
		address, _ := c.address(int(p.Port), protocolOf(p)) // it is there, as we have it from there
		fmt.Fprintf(&text, "published: %d/%s at %s\n", p.Port, protocolOf(p), address)
	}
	if !c.current().started.Load() {
		return text.String()
	}
	c.logEvidence(&text)
	if c.use("") != nil {
		return text.String()
	}
	if c.current().isRunning() {
		c.processEvidence(ctx, &text)
		c.listeningEvidence(ctx, &text)
	}
	c.changesEvidence(ctx, &text)
	return text.String()
}

// state says whether the program runs, or how it ended.
func (c *Container) state() string {
	r := c.current()
	switch {
	case !r.started.Load():
		return "not started"
	case !r.hasEnded():
		return "running"
	case r.err != nil:
		return "lost: " + r.err.Error()
	default:
		return exitText(r.exit)
	}
}

func (c *Container) logEvidence(text *strings.Builder) {
	log := c.output.bytes(0)
	if len(log) == 0 {
		text.WriteString("log: empty\n")
		return
	}
	lines := bytes.Count(bytes.TrimRight(log, "\n"), []byte("\n")) + 1
	fmt.Fprintf(text, "log, the last %d of %d lines:\n", min(evidenceLines, lines), lines)
	text.WriteString(indent(lastLines(log, evidenceLines)) + "\n")
}

func (c *Container) processEvidence(ctx context.Context, text *strings.Builder) {
	all, err := c.box.Processes(ctx)
	if err != nil {
		fmt.Fprintf(text, "processes: %v\n", err)
		return
	}
	text.WriteString("processes:\n")
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	for _, row := range limit(processTree(all)) {
		fmt.Fprintln(table, "    "+row)
	}
	_ = table.Flush() // to memory
}

// processTree returns a row for each process, the children below their parent.
func processTree(all []sandbox.ProcessInfo) []string {
	children := map[int][]sandbox.ProcessInfo{}
	known := map[int]bool{}
	for _, p := range all {
		known[p.PID] = true
	}
	for _, p := range all {
		parent := p.PPID
		if !known[parent] || parent == p.PID {
			parent = 0
		}
		children[parent] = append(children[parent], p)
	}
	rows := []string{"PID\tUID\tSTATE\tKiB\tCOMMAND"}
	var add func(parent, depth int)
	add = func(parent, depth int) {
		slices.SortFunc(children[parent], func(a, b sandbox.ProcessInfo) int { return cmp.Compare(a.PID, b.PID) })
		for _, p := range children[parent] {
			rows = append(rows, fmt.Sprintf("%d\t%d\t%s\t%d\t%s%s", p.PID, p.UID, p.State, p.RSS/1024, strings.Repeat("  ", depth), shellJoin(p.Args)))
			add(p.PID, depth+1)
		}
	}
	add(0, 0)
	return rows
}

func (c *Container) listeningEvidence(ctx context.Context, text *strings.Builder) {
	all, err := c.box.Listening(ctx)
	if err != nil {
		fmt.Fprintf(text, "listening: %v\n", err)
		return
	}
	fmt.Fprintf(text, "listening: %s\n", cmp.Or(strings.Join(limit(listenerTexts(all)), ", "), "on nothing"))
}

func listenerTexts(all []sandbox.Listener) []string {
	var texts []string
	for _, l := range all {
		if l.Path != "" {
			texts = append(texts, l.Path)
			continue
		}
		texts = append(texts, net.JoinHostPort(l.IP, strconv.Itoa(int(l.Port)))+"/"+l.Protocol)
	}
	return texts
}

// listeningText says, for a message, what the container does listen on.
func (c *Container) listeningText() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	all, err := c.box.Listening(ctx)
	if err != nil || len(all) == 0 {
		return ""
	}
	return "; it listens on " + strings.Join(limit(listenerTexts(all)), ", ")
}

func (c *Container) changesEvidence(ctx context.Context, text *strings.Builder) {
	changes, err := c.box.Changes(ctx)
	if err != nil {
		fmt.Fprintf(text, "changed files: %v\n", err)
		return
	}
	fmt.Fprintf(text, "changed files: %d\n", len(changes))
	var rows []string
	for _, change := range changes {
		rows = append(rows, change.String())
	}
	for _, row := range limit(rows) {
		fmt.Fprintf(text, "    %s\n", row)
	}
}

// limit cuts a long list and says so.
func limit(rows []string) []string {
	if len(rows) <= evidenceEntries {
		return rows
	}
	return append(slices.Clone(rows[:evidenceEntries]), fmt.Sprintf("... and %d more", len(rows)-evidenceEntries))
}
