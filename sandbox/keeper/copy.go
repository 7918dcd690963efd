package keeper

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper/tree"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// copyTo extracts what comes through the caller's pipe.
func (s *server) copyTo(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	r, root, pipe, err := s.beginCopy(ctx, m, "copy to")
	if err != nil {
		return outcome{err: err}
	}
	defer root.Close()
	defer pipe.Close()
	return outcome{err: root.Extract(ctx, string(r.Path), pipe)}
}

// copyFrom writes an archive to the caller's pipe. The end of the pipe comes before the answer.
func (s *server) copyFrom(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	r, root, pipe, err := s.beginCopy(ctx, m, "copy from")
	if err != nil {
		return outcome{err: err}
	}
	defer root.Close()
	defer pipe.Close()
	archive, err := root.Archive(string(r.Path))
	if err != nil {
		return outcome{err: err}
	}
	defer archive.Close()
	if err := s.conn.Send(m.ID, sandbox.KindCopying, nil); err != nil {
		return outcome{err: err}
	}
	return outcome{err: archive.WriteTo(ctx, pipe)}
}

// beginCopy opens what a copy needs. The caller closes both.
func (s *server) beginCopy(ctx context.Context, m *wire.Message, doing string) (r sandbox.CopyRequest, _ *tree.Root, _ *os.File, err error) {
	if err := m.Decode(&r); err != nil {
		return r, nil, nil, err
	}
	if len(m.Files) != 1 {
		return r, nil, nil, sandbox.Errorf(sandbox.CodeProtocol, "%s a container: %d pipes where one was expected", doing, len(m.Files))
	}
	c, err := s.container(r.Of())
	if err != nil {
		return r, nil, nil, err
	}
	open := c.files
	if r.Unmounted {
		open = c.ownFiles
	}
	root, err := open(doing)
	if err != nil {
		return r, nil, nil, err
	}
	pipe, err := endWith(ctx, m.Files[0])
	m.CloseFiles()
	if err != nil {
		root.Close()
	}
	return r, root, pipe, err
}

// endWith returns a pipe whose reads and writes end with ctx.
func endWith(ctx context.Context, pipe *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(pipe.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate pipe: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("prepare pipe: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pipe")
	context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	return f, nil
}
