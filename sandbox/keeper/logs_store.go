package keeper

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// logPartSize is how large one of a log's files may become.
const logPartSize = 10 << 20

// outputLog keeps what a container's program has written: entries in JSON, each on a line, in one file that is full and
// one that is written to. The files have no names, so that the kernel removes them however the keeper ends.
type outputLog struct {
	make  func() (*os.File, error)
	limit int64 // of a file's size

	mu       sync.Mutex
	parts    []*logPart // one or two, the older one first
	writers  int        // outputs that are being read into it
	readers  int
	lost     int64         // bytes of output that could not be kept, and of which no entry tells yet
	changed  chan struct{} // closed at the next change
	isClosed bool
}

// logPart is one file of a log.
type logPart struct {
	file   *os.File
	number int // they count up
	size   int64
}

// newOutputLog makes a log on the file system of a directory.
func newOutputLog(dir string) (*outputLog, error) {
	l := &outputLog{make: func() (*os.File, error) { return anonymousFile(dir) }, limit: logPartSize, changed: make(chan struct{})}
	if err := l.turn(); err != nil {
		return nil, fmt.Errorf("make a log: %w", noSpace(err))
	}
	return l, nil
}

// anonymousFile makes a file that nothing can give a name. File systems without such files get one that loses its name at once.
func anonymousFile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "log"), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, &os.PathError{Op: "create a file in", Path: dir, Err: err}
	}
	f, err := os.CreateTemp(dir, ".log-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// turn begins another file, and gives up all but the last of those before.
func (l *outputLog) turn() error {
	f, err := l.make()
	if err != nil {
		return err
	}
	number := 0
	if n := len(l.parts); n > 0 {
		number = l.parts[n-1].number + 1
		for _, old := range l.parts[:n-1] {
			_ = old.file.Close() // whoever reads it goes on with the next
		}
		l.parts = l.parts[n-1:]
	}
	l.parts = append(l.parts, &logPart{file: f, number: number})
	return nil
}

// append adds entries. If they cannot be kept, as many bytes of output are lost.
func (l *outputLog) append(entries []byte, holds int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return
	}
	if err := l.write(entries); err != nil {
		l.lost += holds
		return
	}
	l.signal()
}

func (l *outputLog) write(entries []byte) error {
	last := l.parts[len(l.parts)-1]
	if last.size > 0 && last.size+int64(len(entries)) > l.limit {
		if err := l.turn(); err != nil {
			return err
		}
		last = l.parts[len(l.parts)-1]
	}
	if _, err := last.file.WriteAt(entries, last.size); err != nil {
		return err // the next one is written over what there is of it
	}
	last.size += int64(len(entries))
	return nil
}

// takeLost returns how many bytes of output could not be kept, for an entry to tell that.
func (l *outputLog) takeLost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.lost = 0 }()
	return l.lost
}

// signal tells those who wait of a change. The caller holds the lock.
func (l *outputLog) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// open counts a writer, done takes it back.
func (l *outputLog) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writers++
}

func (l *outputLog) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writers--
	l.signal()
}

// close gives the files up. Who still reads them finds the end.
func (l *outputLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return
	}
	l.isClosed = true
	for _, p := range l.parts {
		_ = p.file.Close() // nobody will read it again
	}
	l.signal()
}
