package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

const (
	// logPartSize is how large one of a log's files may become where nothing else is said, logParts how many there are.
	logPartSize = 10 << 20
	logParts    = 2
	// leastLogSize is the least size that may be asked for.
	leastLogSize = 4096
)

// outputLog keeps what a container's program has written: entries in JSON, each on a line, in files that are full and one that
// is written to. The files of a container that is not kept have no names, so that the kernel removes them however the keeper
// ends.
type outputLog struct {
	make  func() (*os.File, error)
	drop  func(*os.File) // gives an old file up
	limit int64          // of a file's size
	keep  int            // how many files there are at the most

	mu       sync.Mutex
	parts    []*logPart // at least one, the oldest first
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

// newOutputLog makes a log without a name on the file system of a directory.
func newOutputLog(dir string, o sandbox.LogOptions) (*outputLog, error) {
	l := emptyLog(o)
	l.make = func() (*os.File, error) { return anonymousFile(dir) }
	if err := l.turn(); err != nil {
		return nil, fmt.Errorf("make a log: %w", noSpace(err))
	}
	return l, nil
}

func emptyLog(o sandbox.LogOptions) *outputLog {
	l := &outputLog{limit: o.MaxSize, keep: o.MaxFiles, drop: func(*os.File) {}, changed: make(chan struct{})}
	if l.limit == 0 {
		l.limit = logPartSize
	}
	if l.keep == 0 {
		l.keep = logParts
	}
	return l
}

// checkLog refuses a log that cannot be.
func checkLog(o sandbox.LogOptions) error {
	if o.MaxSize != 0 && o.MaxSize < leastLogSize || o.MaxFiles < 0 {
		return sandbox.Errorf(sandbox.CodeInvalid, "keep a log of %d files of %d bytes: that is too little", o.MaxFiles, o.MaxSize).
			WithRemedy("give a size of at least %d bytes", leastLogSize)
	}
	return nil
}

// openNamedLog goes on with the log of a container that is kept, in its directory.
func openNamedLog(dir string, o sandbox.LogOptions) (*outputLog, error) {
	l := emptyLog(o)
	path := func(n int) string { return filepath.Join(dir, sandbox.LogPrefix+strconv.Itoa(n)) }
	numbers, err := sandbox.LogNumbers(dir)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	for _, n := range numbers {
		f, err := os.OpenFile(path(n), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("open a log: %w", err)
		}
		l.parts = append(l.parts, &logPart{file: f, number: n, size: completeSize(f)})
	}
	l.make = func() (*os.File, error) {
		next := 0
		if n := len(l.parts); n > 0 {
			next = l.parts[n-1].number + 1
		}
		return os.OpenFile(path(next), os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	}
	l.drop = func(f *os.File) { _ = os.Remove(f.Name()) }
	if len(l.parts) == 0 {
		err = l.turn()
	}
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", noSpace(err))
	}
	return l, nil
}

// completeSize is where a file's last whole line ends. A crash may have left a part of one, which is written over.
func completeSize(f *os.File) int64 {
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	buf := make([]byte, 64<<10)
	for end := st.Size(); end > 0; {
		from := max(0, end-int64(len(buf)))
		n, err := f.ReadAt(buf[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return end
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			_ = f.Truncate(from + int64(i) + 1)
			return from + int64(i) + 1
		}
		end = from
	}
	return 0
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

// turn begins another file, and gives up the oldest if there would be too many.
func (l *outputLog) turn() error {
	f, err := l.make()
	if err != nil {
		return err
	}
	number := 0
	if n := len(l.parts); n > 0 {
		number = l.parts[n-1].number + 1
		for len(l.parts) >= l.keep {
			l.drop(l.parts[0].file)
			_ = l.parts[0].file.Close() // whoever reads it goes on with the next
			l.parts = l.parts[1:]
		}
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

// write fills the files up with whole lines. One that is longer than a file may be has a file for itself.
func (l *outputLog) write(entries []byte) error {
	for len(entries) > 0 {
		last := l.parts[len(l.parts)-1]
		n := wholeLines(entries, l.limit-last.size)
		if n == 0 && last.size > 0 {
			if err := l.turn(); err != nil {
				return err
			}
			continue
		}
		if n == 0 {
			n = len(entries)
			if end := bytes.IndexByte(entries, '\n'); end >= 0 {
				n = end + 1
			}
		}
		if _, err := last.file.WriteAt(entries[:n], last.size); err != nil {
			return err // the next one is written over what there is of it
		}
		last.size += int64(n)
		entries = entries[n:]
	}
	return nil
}

// wholeLines returns the length of the lines at the beginning of a text that have room.
func wholeLines(text []byte, room int64) int {
	if int64(len(text)) <= room {
		return len(text)
	}
	return bytes.LastIndexByte(text[:max(0, room)], '\n') + 1
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
