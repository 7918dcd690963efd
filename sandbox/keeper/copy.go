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
	return s.copy(ctx, m, "copy to", func(ctx context.Context, r sandbox.CopyRequest, root *tree.Root, pipe *os.File) error {
		return root.Extract(ctx, string(r.Path), pipe)
	})
}

// copyFrom writes an archive to the caller's pipe. The end of the pipe comes before the answer.
func (s *server) copyFrom(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	return s.copy(ctx, m, "copy from", func(ctx context.Context, r sandbox.CopyRequest, root *tree.Root, pipe *os.File) error {
		archive, err := root.Archive(string(r.Path))
		if err != nil {
			return err
		}
		defer archive.Close()
		if err := s.conn.Send(m.ID, sandbox.KindCopying, nil); err != nil {
			return err
		}
		return archive.WriteTo(ctx, pipe)
	})
}

// copier moves files between a container and a pipe.
type copier func(context.Context, sandbox.CopyRequest, *tree.Root, *os.File) error

func (s *server) copy(ctx context.Context, m *wire.Message, doing string, do copier) outcome {
	var r sandbox.CopyRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	if len(m.Files) != 1 {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "%s a container: %d pipes where one was expected", doing, len(m.Files))}
	}
	c, err := s.container(r.Of())
	if err != nil {
		return outcome{err: err}
	}
	ctx, end := c.beginCopy(ctx)
	defer end()
	err = c.copyThrough(ctx, m, r, doing, do)
	if err != nil && c.life.Err() != nil {
		err = c.gone(doing)
	}
	return outcome{err: err}
}

// beginCopy keeps the container's files and volumes from being given up, which ends the copy and waits for it.
func (c *container) beginCopy(ctx context.Context) (_ context.Context, end func()) {
	c.copies.RLock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		c.copies.RUnlock()
	}
}

// endCopies returns once nothing is copied, after the end of the container's life.
func (c *container) endCopies() {
	c.copies.Lock()
	defer c.copies.Unlock()
}

func (c *container) copyThrough(ctx context.Context, m *wire.Message, r sandbox.CopyRequest, doing string, do copier) error {
	open := c.files
	if r.Unmounted {
		open = c.ownFiles
	}
	root, err := open(doing)
	if err != nil {
		return err
	}
	defer root.Close()
	pipe, err := endWith(ctx, m.Files[0])
	m.CloseFiles()
	if err != nil {
		return err
	}
	defer pipe.Close()
	return do(ctx, r, root, pipe)
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
