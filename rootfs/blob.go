package rootfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hasBlob is true if d is in the store. Its content was checked when it came.
func (s *Store) hasBlob(d ocispec.Descriptor) bool {
	info, err := os.Lstat(s.blobPath(d.Digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// readBlob returns a small blob of the store, checked. A missing one is an fs.ErrNotExist.
func (s *Store) readBlob(d ocispec.Descriptor) ([]byte, error) {
	content, err := os.ReadFile(s.blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	return content, verify(content, d)
}

// storeBlob puts a small, checked blob into the store.
func (s *Store) storeBlob(ctx context.Context, d ocispec.Descriptor, content []byte) error {
	lock, err := s.lock(ctx, "blob-"+fileName(d.Digest), nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, err := s.readBlob(d); err == nil {
		return nil
	}
	name, err := filepath.Rel(s.dir, s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	return s.writeFile(name, content)
}

// receive gives a blob to consume and puts it into the store if it turns out right, and if consume reads all of it
// without an error. A blob of the store is read again instead, and checked again: a damaged one is replaced.
func (s *Store) receive(ctx context.Context, src source, d ocispec.Descriptor, report *reporter, consume func(io.Reader) error) error {
	lock, err := s.lock(ctx, "blob-"+fileName(d.Digest), func() {
		report.send(Event{Layer: d.Digest, Kind: Note, Text: "waiting for another process that downloads it"})
	})
	if err != nil {
		return err
	}
	defer lock.Unlock()
	again, err := s.receiveOnce(ctx, src, d, report, consume)
	if again {
		report.retry("what was stored of " + d.Digest.String() + " is damaged")
		_, err = s.receiveOnce(ctx, src, d, report, consume)
	}
	return err
}

// receiveOnce also says whether the fault lies in what was in the store, which is gone then.
func (s *Store) receiveOnce(ctx context.Context, src source, d ocispec.Descriptor, report *reporter, consume func(io.Reader) error) (again bool, _ error) {
	file, err := s.openBlob(d)
	if err != nil {
		return false, err
	}
	down, err := openDownload(ctx, src, d, file, report)
	if err == nil {
		err = consumeAll(down, &progressReader{Reader: down, report: report,
			at: Event{Layer: d.Digest, Kind: Progress, Total: d.Size}}, consume)
		down.closeBody()
	}
	err = errors.Join(err, file.Close())
	if err != nil {
		return down != nil && down.resumed() && errors.Is(err, DigestMismatch), s.discard(file.Name(), down, err)
	}
	if file.Name() == s.blobPath(d.Digest) {
		return false, nil
	}
	step("blob about to be named")
	return false, s.rename(file.Name(), s.blobPath(d.Digest))
}

// openBlob opens the blob itself or what there is of it, which may be nothing.
func (s *Store) openBlob(d ocispec.Descriptor) (*os.File, error) {
	if s.hasBlob(d) {
		return os.Open(s.blobPath(d.Digest))
	}
	path, err := filepath.Rel(s.dir, s.partialPath(d.Digest))
	if err != nil {
		return nil, err
	}
	defer step("partial file opened")
	return s.create(path, os.O_RDWR)
}

// consumeAll reads what consume leaves, such as bytes after the end of a tar stream: the digest covers them. It also
// finds out whether content that makes no sense to the consumer is what was promised.
func consumeAll(down *download, r io.Reader, consume func(io.Reader) error) error {
	err := consume(r)
	if down.err != nil && !down.complete {
		return down.err // the reason of what the consumer complains about
	}
	if err != nil && !errors.Is(err, BadArchive) {
		return err
	}
	if _, bad := io.Copy(io.Discard, r); bad != nil {
		return bad
	}
	return err
}

// discard removes a file after a failure, unless a later pull can continue it: the failure was the network's, or
// somebody lost patience. Where another download found the disk full, it only takes room.
func (s *Store) discard(path string, down *download, err error) error {
	if down == nil || down.offset == 0 && !down.resumed() || !continuable(err) || errors.Is(context.Cause(down.ctx), NoSpace) {
		err = errors.Join(err, ignore(os.Remove(path), fs.ErrNotExist))
	}
	return s.full(err)
}

func continuable(err error) bool {
	for _, code := range []Code{Unreachable, Truncated, RateLimited, Unauthorized, NotFound} {
		if errors.Is(err, code) {
			return true
		}
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
