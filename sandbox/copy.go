package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// CopyTo extracts a tar stream below a directory of the container, which is made if it is missing, before its program is
// started, while it runs or after its end. Nothing needs to be installed in the container.
//
//   - Names count from dir and may not lead out of it; symlinks of the container are followed inside its root.
//   - Owners, modes and times are those of the headers, and so are the attributes user.* and security.capability. With a
//     single id the owners of symlinks and fifos are lost. dir itself keeps its own if it was there.
//   - A file replaces another one at once, with all of its content. Files and directories do not replace each other, mount
//     points are not replaced, and device nodes are refused.
//   - While the program runs the files go where it sees them: to its mounts too, and not where those are read-only. Otherwise they
//     go to volumes and bind mounts as a start would mount them, and below memory file systems, which are not there.
//
// What was copied before an error stays, and the stream may still be read once.
//
// Errors: CodeBadArchive, CodeInvalid, CodeUnmappedID, CodeUnsupported, CodeNoSpace; CodeMount if the container does not run
// and a mount of it cannot be made; CodeAlreadyFinished after Discard; those of the stream.
func (ct *Container) CopyTo(ctx context.Context, dir string, tar io.Reader) error {
	return ct.client.sendArchive(ctx, fmt.Sprintf("copy to %q", dir), KindCopyTo, CopyRequest{ContainerRequest: ct.request(), Path: []byte(dir)}, tar, nil)
}

// sendArchive has the keeper read an archive from a pipe, and decodes its answer into result, unless that is nil.
func (c *Client) sendArchive(ctx context.Context, doing, kind string, body any, tar io.Reader, result any) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	call, err := c.request(kind, body, r)
	r.Close()
	if err != nil {
		return errors.Join(err, w.Close())
	}
	fed := make(chan error, 1)
	go func() {
		fed <- feed(w, tar)
		_ = w.Close() // only then, so that whoever hears of an early end finds the reason
	}()
	m, err := c.next(ctx, call)
	if err == nil && result != nil {
		err = m.Decode(result)
	}
	if err == nil {
		return <-fed
	}
	_ = w.Close() // ends a write that nobody reads
	select {
	case cause := <-fed: // an archive that ends early has its reason
		if cause != nil {
			return cause
		}
	default:
	}
	return err
}

// feed writes the stream to the pipe. That the keeper wants no more of it is the keeper's to explain.
func feed(w *os.File, stream io.Reader) error {
	_, err := io.Copy(w, stream)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// CopyFrom returns a tar stream of a file or directory of the container, before its program is started, while it runs or
// after its end. The first entry has the file's own name ("." for the root), the others are below that.
//
// Symlinks are kept as they are, also if path ends in one, and so are hard links among what is copied. Owners are
// those that the container sees. Sockets are left out, and so is what the kernel makes up (/proc, /sys and the like). A file
// that is removed meanwhile may be missing; one that shrinks is an error.
//
// The caller closes the stream, which may be before its end. Its last Read returns what became of it. The end of ctx ends it too.
//
// Errors: CodeNotFound, CodeInvalid, CodeUnsupported; CodeMount as for CopyTo; CodeAlreadyFinished after Discard.
func (ct *Container) CopyFrom(ctx context.Context, path string) (io.ReadCloser, error) {
	return ct.client.openArchive(ctx, fmt.Sprintf("copy from %q", path), KindCopyFrom, CopyRequest{ContainerRequest: ct.request(), Path: []byte(path)})
}

// openArchive asks the keeper to write an archive to a pipe, and returns its other end once it begins.
func (c *Client) openArchive(ctx context.Context, doing, kind string, body any) (io.ReadCloser, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	call, err := c.request(kind, body, w)
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	m, err := c.next(ctx, call)
	if err == nil && m.Kind != KindCopying {
		err = Errorf(CodeProtocol, "%s: the keeper answered %q", doing, m.Kind)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	s := &archiveStream{ctx: ctx, client: c, call: call, pipe: r}
	s.stop = context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	return s, nil
}

// archiveStream reads the archive from a pipe and then how it went.
type archiveStream struct {
	ctx    context.Context
	client *Client
	call   *call
	pipe   *os.File
	stop   func() bool

	mu    sync.Mutex
	ended bool
	err   error
}

func (s *archiveStream) Read(b []byte) (int, error) {
	n, err := s.pipe.Read(b)
	switch {
	case n > 0 || err == nil:
		return n, nil
	case errors.Is(err, os.ErrClosed):
		return 0, err
	}
	return 0, s.end()
}

// end takes the keeper's answer, once. The context's end cancels the request.
func (s *archiveStream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, io.EOF
		if _, err := s.client.next(s.ctx, s.call); err != nil {
			s.err = err
		}
	}
	return s.err
}

// Close ends the stream, also before all of it was read.
func (s *archiveStream) Close() error {
	s.stop()
	err := s.pipe.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, os.ErrClosed
		s.client.cancel(s.call)
	}
	return err
}
