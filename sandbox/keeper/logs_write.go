package keeper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// logPiece is the most that one entry of a log holds: a longer line has several.
const logPiece = 16 << 10

// outputPipe makes a pipe for a program to write to. Our end does not hold a thread while nothing comes.
func outputPipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("prepare a pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "output"), os.NewFile(uintptr(fds[1]), "output"), nil
}

// logWriter makes entries of what comes from one stream.
type logWriter struct {
	log     *outputLog
	stream  string
	midline bool
	entries bytes.Buffer
}

// close tells the log, if there is one, that no more comes.
func (w *logWriter) close() {
	if w.log != nil {
		w.log.done()
	}
}

func (w *logWriter) add(text []byte, now time.Time) {
	if len(text) == 0 {
		return
	}
	w.entries.Reset()
	encoder := json.NewEncoder(&w.entries)
	lost := w.log.takeLost()
	holds := int64(len(text)) + lost
	for line := range bytes.Lines(text) {
		_ = encoder.Encode(sandbox.LogEntry{Time: now, Stream: w.stream, Text: line, Continues: w.midline, Lost: lost}) // to memory
		w.midline, lost = line[len(line)-1] != '\n', 0
	}
	w.log.append(w.entries.Bytes(), holds)
}
