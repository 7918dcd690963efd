package main

import (
	"context"
	"io"
	"iter"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// logsFlags are those of the verb logs.
type logsFlags struct {
	follow, timestamps, details bool
	tail, since, until          string

	prefix string // of each line, with details
}

func newLogsCommand() *cobra.Command {
	f := &logsFlags{}
	cmd := &cobra.Command{
		Use:   "logs [flags] CONTAINER",
		Short: "Print what a container has written",
		Long: `Print what the program of a container that is kept, or runs in the background, has written, its standard output to standard output
and its standard error to standard error, while it runs or after its end. --log-opt of bivouac run says how much is kept.
CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac logs db
  bivouac logs -f --tail 10 db
  bivouac logs -t --since 5m --until 1m db`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&f.details, "details", false, "print the labels and variables before each line that --log-opt labels= and env= of bivouac run name")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what is written from now on, until the program ends")
	cmd.Flags().BoolVarP(&f.timestamps, "timestamps", "t", false, "print the time before each line")
	cmd.Flags().StringVarP(&f.tail, "tail", "n", "all", "print only the last `NUMBER` of lines")
	cmd.Flags().StringVar(&f.since, "since", "", "print only what was written after a `TIME`, such as 2030-01-02T15:04:05Z, or in a duration such as 10m")
	cmd.Flags().StringVar(&f.until, "until", "", "print only what was written before a `TIME`, as with --since")
	return cmd
}

func (f *logsFlags) run(ctx context.Context, container string) error {
	spec, err := f.spec(time.Now())
	if err != nil {
		return err
	}
	a, err := sandbox.Attach(ctx, container)
	if sandbox.CodeOf(err) == sandbox.CodeNotRunning {
		return f.runStored(ctx, container, spec)
	}
	if err != nil {
		return err
	}
	defer a.Close() //nolint:errcheck // the container goes on whatever becomes of the connection
	if f.details {
		config, err := a.Config(ctx)
		if err != nil {
			return err
		}
		f.prefix = logDetails(&sandbox.Record{Status: a.Status, Spec: config})
	}
	return f.print(os.Stdout, os.Stderr, a.Logs(ctx, spec))
}

// runStored prints the log of a container that no keeper has.
func (f *logsFlags) runStored(ctx context.Context, container string, spec sandbox.LogsSpec) error {
	r, err := sandbox.FindRecord(ctx, container)
	if err != nil {
		return err
	}
	if f.details {
		f.prefix = logDetails(&r)
	}
	return f.print(os.Stdout, os.Stderr, sandbox.ReadLog(ctx, r.ID, spec))
}

// logDetails are the labels and variables that --log-opt names, as Docker prints them: NAME=VALUE,... and a space.
func logDetails(r *sandbox.Record) string {
	var texts []string
	for _, name := range r.Spec.Log.Labels {
		if value, ok := r.Labels[name]; ok {
			texts = append(texts, printable(name+"="+value))
		}
	}
	for _, e := range r.Env {
		if name, _, _ := strings.Cut(e, "="); slices.Contains(r.Spec.Log.Env, name) {
			texts = append(texts, printable(e))
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, ",") + " "
}

func (f *logsFlags) spec(now time.Time) (sandbox.LogsSpec, error) {
	spec := sandbox.LogsSpec{Follow: f.follow}
	if f.tail != "all" {
		n, err := strconv.Atoi(f.tail)
		if err != nil {
			return spec, usageErrorf("--tail %q: needs a number of lines, or all", f.tail)
		}
		if n >= 0 { // -1 is all, as for Docker
			spec.Tail = &n
		}
	}
	for _, limit := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", f.since, &spec.Since}, {"until", f.until, &spec.Until}} {
		if limit.text == "" {
			continue
		}
		t, ok := parseTime(limit.text, now)
		if !ok {
			return spec, usageErrorf("--%s %q: needs a time such as 2030-01-02T15:04:05Z, seconds since 1970, or a duration such as 10m", limit.flag, limit.text)
		}
		*limit.into = t
	}
	return spec, nil
}

// parseTime reads what Docker takes for a time: a duration before now, seconds since 1970, or a date, in the local time zone
// unless it names one.
func parseTime(text string, now time.Time) (time.Time, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), true
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e11 {
		whole, part := math.Modf(seconds)
		return time.Unix(int64(whole), int64(part*1e9)), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// logTime is RFC 3339 with all nanoseconds, so that the lines that follow are below each other.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// print writes each stream's entries to its writer.
func (f *logsFlags) print(out, errs io.Writer, entries iter.Seq2[sandbox.LogEntry, error]) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		to := out
		if e.Stream == sandbox.StreamError {
			to = errs
		}
		if err := f.printEntry(to, errs, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *logsFlags) printEntry(to, errs io.Writer, e sandbox.LogEntry) error {
	text := e.Text
	if !e.Continues {
		before := f.prefix
		if f.timestamps {
			before = e.Time.UTC().Format(logTime) + " " + before
		}
		text = append([]byte(before), text...)
	}
	if e.Lost > 0 {
		if _, err := io.WriteString(errs, "bivouac: "+humanSize(e.Lost)+" of output could not be kept here: the disk was full\n"); err != nil {
			return err
		}
	}
	_, err := to.Write(text)
	return err
}
