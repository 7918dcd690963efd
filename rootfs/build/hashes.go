package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/aside"
)

// identity is what stat(2) tells of a file's content: as long as it is the same, so is the content.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds
}

func identityOf(st *unix.Stat_t) identity {
	return identity{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

type sum = [sha256.Size]byte

// settled is how long ago a file must have changed for its digest to be remembered: within the clock's granularity it could
// change again without a trace. FAT has 2 seconds.
const settled = 3 * time.Second

// hashes are digests of files' contents that need not be read again. Nil reads everything.
type hashes struct {
	path string // of the file they are kept in

	mu   sync.Mutex
	sums map[identity]sum // of this build and of earlier ones
	used map[identity]bool
	late map[identity]bool // too young to be remembered
	more bool              // there are some that the file has not
}

// openHashes reads the digests of a context. A file that cannot be read, or is damaged, has none.
func openHashes(path string) *hashes {
	h := &hashes{path: path, sums: map[identity]sum{}, used: map[identity]bool{}, late: map[identity]bool{}}
	content, err := os.ReadFile(path)
	if err != nil {
		return h
	}
	for line := range strings.Lines(string(content)) {
		if id, s, ok := parseHash(strings.TrimSuffix(line, "\n")); ok {
			h.sums[id] = s
		}
	}
	return h
}

// parseHash reads a line of the file: five numbers and a digest.
func parseHash(line string) (id identity, s sum, ok bool) {
	var numbers [5]uint64
	for i := range numbers {
		number, rest, _ := strings.Cut(line, " ")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return id, s, false
		}
		numbers[i], line = n, rest
	}
	content, err := hex.DecodeString(line)
	if err != nil || len(content) != len(s) {
		return id, s, false
	}
	id = identity{numbers[0], numbers[1], int64(numbers[2]), int64(numbers[3]), int64(numbers[4])}
	return id, sum(content), true
}

// of returns the digest of a regular file.
func (h *hashes) of(ctx context.Context, f *file) (sum, error) {
	if h == nil {
		s, _, err := readSum(ctx, f)
		return s, err
	}
	if s, ok := h.find(identityOf(&f.stat)); ok {
		return s, nil
	}
	s, id, err := readSum(ctx, f)
	if err != nil {
		return s, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sums[id], h.used[id], h.more = s, true, true
	if time.Since(time.Unix(0, max(id.mtime, id.ctime))) < settled {
		h.late[id] = true
	}
	return s, nil
}

func (h *hashes) find(id identity) (sum, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.sums[id]
	if ok {
		h.used[id] = true
	}
	return s, ok
}

// readSum reads a file to its end. One that changes meanwhile is an error.
func readSum(ctx context.Context, f *file) (s sum, id identity, err error) {
	opened, err := f.open()
	if err != nil {
		return s, id, err
	}
	defer opened.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, cancellable{ctx, opened}); err != nil {
		return s, id, fmt.Errorf("read %s: %w", f.label(), err)
	}
	id = identityOf(&f.stat)
	return sum(hash.Sum(nil)), id, unchanged(opened, id, f.label())
}

var errChanged = errors.New("it goes on changing while it is read; leave out with an ignore file what is being written, or stop the writer")

// unchanged tells whether the file of that name is still what it was when it was opened.
func unchanged(opened *os.File, id identity, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(opened.Fd()), &st); err != nil {
		return err
	}
	if identityOf(&st) != id {
		return fmt.Errorf("read %s: %w", name, errChanged)
	}
	return nil
}

// maxHashes bounds what is remembered of files that a build did not ask for.
const maxHashes = 200_000

// save writes the digests for later builds. It is a courtesy.
func (h *hashes) save() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.more {
		return
	}
	keep := maps.Clone(h.sums)
	maps.DeleteFunc(keep, func(id identity, _ sum) bool { return h.late[id] || len(h.sums) > maxHashes && !h.used[id] })
	var b bytes.Buffer
	for id, s := range keep {
		fmt.Fprintf(&b, "%d %d %d %d %d %x\n", id.dev, id.ino, uint64(id.size), uint64(id.mtime), uint64(id.ctime), s[:])
	}
	_ = writeWhole(h.path, b.Bytes())
}

// writeWhole replaces a file, whose directory may be missing.
func writeWhole(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return aside.Write(path, content)
}
