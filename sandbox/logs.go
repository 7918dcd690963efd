package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// The streams of a [LogEntry]. A terminal's output is on StreamOutput.
const (
	StreamOutput = "stdout"
	StreamError  = "stderr"
)

// LogEntry is a line that a container's program has written, or a piece of one.
type LogEntry struct {
	// Time is when the keeper has read it.
	Time time.Time `json:"time"`
	// Stream is StreamOutput or StreamError.
	Stream string `json:"stream"`
	// Text are the bytes as they were written, with the newline that ends a line.
	Text []byte `json:"log"`
	// Continues tells that the line began in an earlier entry of the same stream: it was long, or was not written at once.
	Continues bool `json:"continues,omitempty"`
	// Lost is how many bytes before these could not be kept, as on a full disk.
	Lost int64 `json:"lost,omitempty"`
}

// LogsSpec says what of a container's log to read. Its zero value is all that there is.
type LogsSpec struct {
	// Follow goes on with what is written from then on, until the container's program has ended.
	Follow bool `json:"follow,omitempty"`
	// Tail limits it to the last lines, nil does not.
	Tail *int `json:"tail,omitempty"`
	// Since leaves out what was written before, Until what was written after it; zero does not.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Wants tells whether something of a time lies between Since and Until.
func (s LogsSpec) Wants(t time.Time) bool {
	return !t.Before(s.Since) && (s.Until.IsZero() || !t.After(s.Until))
}

// Logs reads the log of a container that was started with [Streams.Log] or detached with outputs, while its program runs or
// after its end; it goes on over all starts. The keeper keeps at least the last 10 MB of it on the disk, at most twice as
// much. The sequence ends with the log's end, or with an error.
//
// Errors: CodeInvalid for a container that has no log, CodeAlreadyFinished after Discard.
func (ct *Container) Logs(ctx context.Context, spec LogsSpec) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		stream, err := ct.client.openArchive(ctx, fmt.Sprintf("read the log of container %s", ct.Name), KindLogs, LogsRequest{ct.request(), spec})
		if err != nil {
			yield(LogEntry{}, err)
			return
		}
		defer stream.Close()
		entries := json.NewDecoder(stream)
		for {
			var e LogEntry
			err := entries.Decode(&e)
			if errors.Is(err, io.EOF) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// notLogged refuses a log for what has none.
func (s Streams) notLogged(doing string) error {
	if s.Log {
		return Errorf(CodeInvalid, "%s: it has no log", doing).WithRemedy("create a container and start it with Log")
	}
	return nil
}
