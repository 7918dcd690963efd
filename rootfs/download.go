package rootfs

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxStalls is how often in a row a download may fail without bringing a byte.
const maxStalls = 5

// stallTime is how long a download may bring nothing.
const stallTime = time.Minute

// download is the reading of one blob: first what lies in the file, then the rest of the source, which is appended to
// the file. Failures of the source are mended by asking for the rest again. At the end size and digest are checked.
type download struct {
	ctx    context.Context
	source source
	d      ocispec.Descriptor
	report *reporter
	pause  func(ctx context.Context, attempt int) error

	file   *os.File
	stored int64 // bytes that the file had at first
	offset int64 // bytes that were read
	hash   hash.Hash
	body   io.ReadCloser
	cancel context.CancelFunc // ends body
	stalls int
	err    error // the last word of Read
	// complete tells the io.EOF of right content from errors that wrap one, as those of HTTP do.
	complete bool
}

// openDownload starts reading d with what file has of it.
func openDownload(ctx context.Context, src source, d ocispec.Descriptor, file *os.File, report *reporter) (*download, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	stored := info.Size()
	if stored > d.Size {
		stored = 0
		err = file.Truncate(0)
	}
	report.send(Event{Layer: d.Digest, Kind: Start, Current: stored, Total: d.Size})
	return &download{ctx: ctx, source: src, d: d, report: report, pause: pauseBefore,
		file: file, stored: stored, hash: d.Digest.Algorithm().Hash()}, err
}

// Read returns io.EOF only for content that is right.
func (l *download) Read(b []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.read(b)
	l.hash.Write(b[:n])
	l.offset += int64(n)
	l.err = err
	return n, err
}

func (l *download) read(b []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if left := l.d.Size - l.offset; left <= 0 {
		return 0, l.check()
	} else if left < int64(len(b)) {
		b = b[:left]
	}
	if l.offset < l.stored {
		return l.readStored(b)
	}
	return l.readRest(b)
}

func (l *download) readStored(b []byte) (int, error) {
	if left := l.stored - l.offset; left < int64(len(b)) {
		b = b[:left]
	}
	n, err := l.file.ReadAt(b, l.offset)
	if errors.Is(err, io.EOF) {
		if n > 0 {
			return n, nil
		}
		err = fmt.Errorf("read %s: somebody else changes it", l.file.Name())
	}
	return n, err
}

// readRest reads from the source, as often as it takes.
func (l *download) readRest(b []byte) (int, error) {
	for {
		n, err := l.readBody(b)
		if n > 0 {
			l.stalls = 0
			return l.keep(b[:n])
		}
		if err := l.retry(err); err != nil {
			return 0, err
		}
	}
}

func (l *download) readBody(b []byte) (int, error) {
	if l.body == nil {
		if err := l.openBody(); err != nil {
			return 0, err
		}
	}
	watch := time.AfterFunc(stallTime, l.cancel)
	n, err := l.body.Read(b)
	if n > 0 {
		watch.Stop()
		return n, nil
	}
	if !watch.Stop() && l.ctx.Err() == nil {
		err = fmt.Errorf("nothing came for %s", stallTime)
	}
	return 0, err
}

func (l *download) openBody() error {
	ctx, cancel := context.WithCancel(l.ctx)
	body, err := l.source.blob(ctx, l.d, l.offset)
	if err != nil {
		cancel()
		return err
	}
	l.body, l.cancel = body, cancel
	return nil
}

// keep appends to the file what came.
func (l *download) keep(b []byte) (int, error) {
	if _, err := l.file.WriteAt(b, l.offset); err != nil {
		return 0, err
	}
	step("part of a blob written")
	return len(b), nil
}

// retry decides what becomes of a download after err, which may be nil or io.EOF: too early as it comes here.
func (l *download) retry(err error) error {
	if err == nil {
		return nil
	}
	fatal := l.body == nil // the source has tried again by itself before it gave up
	l.closeBody()
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	l.stalls++
	if fatal || l.stalls > maxStalls {
		return l.giveUp(err)
	}
	l.report.retry(fmt.Sprintf("%s broke off at %d of %d bytes: %v", l.d.Digest, l.offset, l.d.Size, err))
	return l.pause(l.ctx, l.stalls)
}

func (l *download) giveUp(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fail(Truncated, "pull again to continue; if that repeats, the image is damaged where it comes from",
			"read %s: it ends after %d of %d bytes", l.d.Digest, l.offset, l.d.Size)
	}
	return fmt.Errorf("read %s: %w", l.d.Digest, err)
}

// check returns io.EOF for content that is right.
func (l *download) check() error {
	got := digest.NewDigest(l.d.Digest.Algorithm(), l.hash)
	if got != l.d.Digest {
		return mismatch(l.d.Digest, got)
	}
	l.complete = true
	return io.EOF
}

// resumed is true if part of the content did not come from the source.
func (l *download) resumed() bool { return l.stored > 0 }

func (l *download) closeBody() {
	if l.body != nil {
		_ = l.body.Close()
		l.cancel()
		l.body = nil
	}
}

// pauseBefore waits before a further attempt: 0.1 s, doubling up to 3.2 s.
func pauseBefore(ctx context.Context, attempt int) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(50 * time.Millisecond << min(attempt, 6)):
		return nil
	}
}
