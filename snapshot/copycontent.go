package snapshot

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// copySize is the number of bytes moved at once.
const copySize = 256 << 10

// rangeSize is the number of bytes that the kernel is asked to copy at once: it does not look for signals meanwhile.
const rangeSize = 16 << 20

var buffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// content copies contents of files between two file systems in the quickest way that they have.
type content struct {
	sameFS           bool // to share blocks, or to copy in the kernel, needs that
	noClone, noRange atomic.Bool
}

// copy copies size bytes, but for holes.
func (c *content) copy(ctx context.Context, dst, src int, size int64, sparse bool) error {
	if size == 0 || c.cloned(dst, src) {
		return nil
	}
	if !sparse {
		return c.section(ctx, dst, src, 0, size)
	}
	if err := unix.Ftruncate(dst, size); err != nil {
		return wrap("set size", err)
	}
	for offset := int64(0); offset < size; {
		start, end, err := data(src, offset, size)
		if err != nil || start == end {
			return err
		}
		if err := c.section(ctx, dst, src, start, end); err != nil {
			return err
		}
		offset = end
	}
	return nil
}

// data finds the next data of a file, none at its end.
func data(src int, offset, size int64) (start, end int64, err error) {
	start, err = unix.Seek(src, offset, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err != nil {
		return 0, 0, wrap("look for data", err)
	}
	end, err = unix.Seek(src, start, unix.SEEK_HOLE)
	return min(start, size), min(end, size), wrap("look for a hole", err)
}

// cloned has both files share their blocks, if they can.
func (c *content) cloned(dst, src int) bool {
	if !c.sameFS || c.noClone.Load() {
		return false
	}
	err := unix.IoctlFileClone(dst, src)
	if slices.ContainsFunc([]error{unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS}, func(e error) bool { return errors.Is(err, e) }) {
		c.noClone.Store(true)
	}
	return err == nil
}

// section copies from start to end, or less if the file has become shorter.
func (c *content) section(ctx context.Context, dst, src int, start, end int64) error {
	for start < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := c.some(dst, src, start, end)
		if err != nil || n == 0 {
			return wrap("copy content", err)
		}
		start += n
	}
	return nil
}

// some copies at least one byte, none at the end of the file.
func (c *content) some(dst, src int, start, end int64) (int64, error) {
	if c.sameFS && !c.noRange.Load() {
		from, to := start, start
		n, err := unix.CopyFileRange(src, &from, dst, &to, int(min(end-start, rangeSize)), 0)
		if n > 0 || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return int64(max(n, 0)), err
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			c.noRange.Store(true)
		}
	}
	b := buffers.Get().(*[copySize]byte)
	defer buffers.Put(b)
	n, err := unix.Pread(src, b[:min(end-start, copySize)], start)
	if err != nil || n == 0 {
		return 0, err
	}
	return int64(n), pwriteAll(dst, b[:n], start)
}

func pwriteAll(fd int, p []byte, offset int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, offset)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n == 0 && err == nil {
			return io.ErrShortWrite
		}
		p, offset = p[max(n, 0):], offset+int64(max(n, 0))
	}
	return nil
}
