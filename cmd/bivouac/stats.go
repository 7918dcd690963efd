package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// statsFlags are those of the verb stats.
type statsFlags struct {
	all, noStream, noTrunc bool
	format                 string
}

func newStatsCommand() *cobra.Command {
	f := &statsFlags{}
	cmd := &cobra.Command{
		Use:   "stats [flags] [CONTAINER...]",
		Short: "Print what containers use, again and again",
		Long: `Print what running containers use of the machine, every second until Ctrl-C. Memory is what is counted against the limit, or
without one the sum over the processes in which what they share counts once; the limit is the machine's memory if there is no
other. NET I/O is that of the container's own network, BLOCK I/O that of its processes with disks, PIDS its threads. CONTAINER
is a name, or an id or its beginning; without one, all that run are shown.

Templates know .Container .Name .ID .CPUPerc .MemUsage .MemPerc .NetIO .BlockIO .PIDs and the functions json, upper, lower, title,
split, join, pad and truncate. "table TEMPLATE" prints columns, separated in the template by \t.`,
		Example: `  bivouac stats --no-stream
  bivouac stats --no-stream --format '{{.Name}}: {{.CPUPerc}}'`,
		RunE: func(cmd *cobra.Command, names []string) error { return f.run(cmd.Context(), cmd.OutOrStdout(), names) },
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "show also containers that do not run")
	cmd.Flags().BoolVar(&f.noStream, "no-stream", false, "print once")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "print ids in full")
	cmd.Flags().StringVar(&f.format, "format", "", listingUsage)
	return cmd
}

// statsInterval is the time between two looks, of which the use of processors is worked out.
const statsInterval = time.Second

func (f *statsFlags) run(ctx context.Context, w io.Writer, names []string) error {
	if err := f.write(io.Discard, nil); err != nil { // a format that makes no sense, before anything is waited for
		return err
	}
	m := &meter{all: f.all, names: names, watched: map[string]*watched{}}
	defer m.close()
	for looks := 0; ; looks++ {
		list, err := m.look(ctx)
		if err != nil {
			return err
		}
		if looks > 0 { // of which the first only says where to count from
			if err := f.draw(w, list); err != nil || f.noStream {
				return err
			}
		}
		select {
		case <-time.After(statsInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// draw prints over what was printed before, in a terminal.
func (f *statsFlags) draw(w io.Writer, list []usage) error {
	out, ok := w.(*os.File)
	if f.noStream || !ok || !canDraw(out) {
		return f.write(w, list)
	}
	var text bytes.Buffer
	if err := f.write(&text, list); err != nil {
		return err
	}
	const home, restOfLine, restOfScreen = "\x1b[H", "\x1b[K\n", "\x1b[J"
	clean := bytes.Map(printableOrNewline, text.Bytes())
	_, err := io.WriteString(w, home+strings.ReplaceAll(string(clean), "\n", restOfLine)+restOfScreen)
	return err
}

func printableOrNewline(r rune) rune {
	if r == '\n' || strconv.IsPrint(r) {
		return r
	}
	return -1
}

// meter looks at containers again and again.
type meter struct {
	all     bool
	names   []string // empty for all that run
	watched map[string]*watched
}

// watched is a container that was looked at.
type watched struct {
	connection *sandbox.Attached
	last       sandbox.Stats // zero before the first look
}

// usage is what a container has used lately.
type usage struct {
	status    sandbox.Status
	now, last sandbox.Stats // zero where its program does not run
	limit     int64         // of memory, in bytes
}

// look measures all that are to be shown.
func (m *meter) look(ctx context.Context) ([]usage, error) {
	list, err := m.list(ctx)
	if err != nil {
		return nil, err
	}
	m.forgetOthers(list)
	machine := machineMemory()
	all := make([]usage, len(list))
	var looks sync.WaitGroup
	for i, s := range list {
		seen := m.watched[s.ID]
		if seen == nil {
			seen = &watched{}
			m.watched[s.ID] = seen
		}
		all[i] = usage{status: s, limit: machine}
		if isUp(s.State) {
			looks.Go(func() { seen.look(ctx, &all[i]) })
		}
	}
	looks.Wait()
	return all, nil
}

// list returns the containers that are to be shown.
//
// Errors: CodeNotFound, CodeInvalid for those that were named.
func (m *meter) list(ctx context.Context) ([]sandbox.Status, error) {
	if len(m.names) == 0 {
		list, err := sandbox.Containers(ctx)
		if !m.all {
			list = slices.DeleteFunc(list, func(s sandbox.Status) bool { return !isUp(s.State) })
		}
		return list, err
	}
	list := make([]sandbox.Status, len(m.names))
	for i, name := range m.names {
		s, err := sandbox.Find(ctx, name)
		if err != nil {
			return nil, err
		}
		list[i] = s
	}
	return list, nil
}

// look measures one container; one that has ended meanwhile has used nothing.
func (w *watched) look(ctx context.Context, u *usage) {
	if w.connection == nil {
		c, err := connectTo(ctx, u.status)
		if err != nil {
			return
		}
		w.connection = c
	}
	now, err := w.connection.Stats(ctx)
	if err != nil {
		w.close()
		return
	}
	if config, err := w.connection.Config(ctx); err == nil && config.Limits.Memory > 0 {
		u.limit = min(config.Limits.Memory, u.limit)
	}
	u.now, u.last, w.last = now, w.last, now
}

func connectTo(ctx context.Context, s sandbox.Status) (*sandbox.Attached, error) {
	if s.Kept {
		return sandbox.AttachKept(ctx, s)
	}
	return sandbox.Attach(ctx, s.ID)
}

// close ends the connection, for which a container's keeper may be waiting.
func (w *watched) close() {
	if w.connection != nil {
		_ = w.connection.Close() // its container goes on
	}
	w.connection, w.last = nil, sandbox.Stats{}
}

func (m *meter) forgetOthers(list []sandbox.Status) {
	for id, w := range m.watched {
		if !slices.ContainsFunc(list, func(s sandbox.Status) bool { return s.ID == id && isUp(s.State) }) {
			w.close()
			delete(m.watched, id)
		}
	}
}

func (m *meter) close() { m.forgetOthers(nil) }

// machineMemory is all that there is, in bytes (proc_meminfo(5)); 0 if it cannot be told.
func machineMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kilobytes int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kilobytes); err != nil {
		return 0
	}
	return kilobytes << 10
}

// statsRow is a container's use as it is printed. Its fields have Docker's names.
type statsRow struct {
	Container, Name, ID, CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string
}

var statsHeader = statsRow{
	Container: "CONTAINER", Name: "NAME", ID: "CONTAINER ID", CPUPerc: "CPU %", MemUsage: "MEM USAGE / LIMIT", MemPerc: "MEM %",
	NetIO: "NET I/O", BlockIO: "BLOCK I/O", PIDs: "PIDS",
}

func (f *statsFlags) write(w io.Writer, list []usage) error {
	const columns = `{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`
	rows := make([]statsRow, len(list))
	for i, u := range list {
		rows[i] = u.row(f.noTrunc)
	}
	return writeListing(w, f.format, false, columns, rows, statsHeader)
}

// row describes a use as Docker does: memory in powers of 1024, transfers in powers of 1000.
func (u *usage) row(noTrunc bool) statsRow {
	id := u.status.ID
	if !noTrunc {
		id = id[:min(12, len(id))]
	}
	memory := cmp.Or(u.now.Memory, u.now.PSS)
	pair := func(a, b int64) string {
		return humanSize(a) + " / " + humanSize(b)
	}
	return statsRow{
		Container: id, Name: u.status.Name, ID: id, CPUPerc: percent(u.processors()), PIDs: strconv.Itoa(u.now.Threads),
		MemUsage: units.BytesSize(float64(memory)) + " / " + units.BytesSize(float64(u.limit)), MemPerc: percent(ratio(memory, u.limit)),
		NetIO: pair(u.now.Received, u.now.Sent), BlockIO: pair(u.now.Read, u.now.Written),
	}
}

// processors is how many the container has kept busy between the two looks.
func (u *usage) processors() float64 {
	if u.last.Time.IsZero() {
		return 0
	}
	return max(0, ratio(int64(u.now.CPU-u.last.CPU), int64(u.now.Time.Sub(u.last.Time))))
}

func ratio(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func percent(share float64) string { return fmt.Sprintf("%.2f%%", 100*share) }
