package main

import (
	"context"
	"io"
	"iter"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// logsFlags are those of the verb logs.
type logsFlags struct {
	follow, timestamps bool
	tail, since        string
}

func newLogsCommand() *cobra.Command {
	f := &logsFlags{}
	cmd := &cobra.Command{
		Use:   "logs [flags] CONTAINER",
		Short: "Print what a detached container has written",
		Long: `Print what the program of a detached container has written, its standard output to standard output and its standard
error to standard error, while it runs or after its end. At least the last 10 MB are kept. CONTAINER is a name, or an
id or its beginning.`,
		Example: `  bivouac logs db
  bivouac logs -f --tail 10 db
  bivouac logs -t --since 5m db`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what is written from now on, until the program ends")
	cmd.Flags().BoolVarP(&f.timestamps, "timestamps", "t", false, "print the time before each line")
	cmd.Flags().StringVarP(&f.tail, "tail", "n", "all", "print only the last `NUMBER` of lines")
	cmd.Flags().StringVar(&f.since, "since", "", "print only what was written after a `TIME`, such as 2030-01-02T15:04:05Z, or in a duration such as 10m")
	return cmd
}

func (f *logsFlags) run(ctx context.Context, container string) error {
	spec, err := f.spec(time.Now())
	if err != nil {
		return err
	}
	c, err := sandbox.Attach(ctx, container)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the container goes on whatever becomes of the connection
	return f.print(os.Stdout, os.Stderr, c.Logs(ctx, spec))
}

func (f *logsFlags) spec(now time.Time) (sandbox.LogsSpec, error) {
	spec := sandbox.LogsSpec{Follow: f.follow}
	if f.tail != "all" {
		n, err := strconv.Atoi(f.tail)
		if err != nil || n < 0 {
			return spec, usageErrorf("--tail %q: needs a number of lines, or all", f.tail)
		}
		spec.Tail = &n
	}
	if f.since == "" {
		return spec, nil
	}
	since, ok := parseTime(f.since, now)
	if !ok {
		return spec, usageErrorf("--since %q: needs a time such as 2030-01-02T15:04:05Z, seconds since 1970, or a duration such as 10m", f.since)
	}
	spec.Since = since
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
	if f.timestamps && !e.Continues {
		text = append([]byte(e.Time.UTC().Format(logTime)+" "), text...)
	}
	if e.Lost > 0 {
		if _, err := io.WriteString(errs, "bivouac: "+humanSize(e.Lost)+" of output could not be kept here: the disk was full\n"); err != nil {
			return err
		}
	}
	_, err := to.Write(text)
	return err
}
