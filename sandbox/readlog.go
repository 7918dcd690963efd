package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ReadLog reads the log of a container that is kept from the store, without its keeper. It ends where the log ends by now, also
// with Follow.
//
// Errors: CodeNotFound; CodeInvalid for a container that has no log.
func ReadLog(ctx context.Context, id string, spec LogsSpec) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		rec, err := ReadRecord(id)
		if err == nil && rec.Spec.Log.None {
			err = Errorf(CodeInvalid, "read the log of container %s: it has none", rec.Name).WithRemedy("run it with another --log-driver than none")
		}
		if err != nil {
			yield(LogEntry{}, err)
			return
		}
		files, err := openLogFiles(rec.ID)
		if err != nil {
			yield(LogEntry{}, fmt.Errorf("read the log of container %s: %w", rec.Name, err))
			return
		}
		defer closeLogs(files)
		err = readLogFiles(ctx, files, spec, yield)
		if err != nil {
			yield(LogEntry{}, fmt.Errorf("read the log of container %s: %w", rec.Name, err))
		}
	}
}

// LogNumbers returns the numbers of a log's files in a container's directory, the oldest first.
func LogNumbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), LogPrefix)
		if n, err := strconv.Atoi(text); ok && err == nil && n >= 0 && e.Type().IsRegular() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func openLogFiles(id string) (files []*os.File, err error) {
	containers, err := ContainersDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(containers, id)
	numbers, err := LogNumbers(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		f, err := os.OpenFile(filepath.Join(dir, LogPrefix+strconv.Itoa(n)), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given up meanwhile
		}
		if err != nil {
			closeLogs(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func closeLogs(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// logPlace is where an entry of a log begins.
type logPlace struct {
	file   int
	offset int64
}

func readLogFiles(ctx context.Context, files []*os.File, spec LogsSpec, yield func(LogEntry, error) bool) error {
	from := logPlace{}
	if spec.Tail != nil {
		var err error
		if from, err = tailOf(ctx, files, spec); err != nil {
			return err
		}
	}
	begun := map[string]bool{}
	return eachEntry(ctx, files, from, func(e LogEntry, _ logPlace) bool {
		begun[e.Stream] = begun[e.Stream] || !e.Continues
		if !spec.Wants(e.Time) || spec.Tail != nil && !begun[e.Stream] {
			return true
		}
		return yield(e, nil)
	})
}

// tailOf finds where the last lines begin that are wanted.
func tailOf(ctx context.Context, files []*os.File, spec LogsSpec) (logPlace, error) {
	last := max(0, *spec.Tail)
	var starts []logPlace // a ring once there are as many as are wanted
	count := 0
	err := eachEntry(ctx, files, logPlace{}, func(e LogEntry, at logPlace) bool {
		switch {
		case e.Continues || !spec.Wants(e.Time):
			return true
		case len(starts) < last:
			starts = append(starts, at)
		case last > 0:
			starts[count%last] = at
		}
		count++
		return true
	})
	switch {
	case err != nil:
		return logPlace{}, err
	case len(starts) == 0:
		return logPlace{file: len(files)}, nil
	case count <= last:
		return starts[0], nil
	}
	return starts[count%last], nil
}

// eachEntry calls f with the entries from a place on, until it returns false. What is no entry, as after a crash of the machine,
// is skipped.
func eachEntry(ctx context.Context, files []*os.File, from logPlace, f func(LogEntry, logPlace) bool) error {
	for i := from.file; i < len(files); i++ {
		at := logPlace{file: i}
		if i == from.file {
			at.offset = from.offset
		}
		if _, err := files[i].Seek(at.offset, io.SeekStart); err != nil {
			return err
		}
		lines := bufio.NewReaderSize(files[i], 64<<10)
		for {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				break // with what is not yet complete
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			if e, ok := entryOf(line); ok && !f(e, at) {
				return nil
			}
			at.offset += int64(len(line))
		}
	}
	return nil
}

// entryOf reads a line of a log, false if that is none.
func entryOf(line []byte) (e LogEntry, ok bool) {
	line = bytes.TrimLeft(line, "\x00")
	return e, json.Unmarshal(line, &e) == nil && e.Stream != ""
}
