package build

import (
	"context"
	"io"

	"golang.org/x/sys/unix"
)

// lstat never follows a symlink.
func lstat(at int, name string) (st unix.Stat_t, err error) {
	return st, unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
}

func kindOf(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

// cancellable is a reader whose reads fail once ctx has ended: files may be as long as a hostile context wants them to be.
type cancellable struct {
	ctx context.Context
	io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}
