package keeper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// size measures what the container has written.
func (c *container) size(context.Context, sandbox.SizeRequest) (any, error) {
	return sandbox.SizeAnswer{Bytes: written(c.area)}, nil
}

// written measures what lies in an upper directory, without the directory itself, which every container has.
func written(a *area) int64 {
	bytes := rootfs.DiskUsage(a.upper)
	var st unix.Stat_t
	if unix.Lstat(a.upper, &st) == nil {
		bytes -= st.Blocks * 512
	}
	return max(bytes, 0)
}

// containerSizes measures what containers that are kept have written. Their files belong to this keeper's ids.
func (s *server) containerSizes(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.ContainerSizesRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	a := sandbox.ContainerSizesAnswer{Bytes: map[string]int64{}}
	for _, id := range r.IDs {
		dir := filepath.Join(k.containersDir(), id)
		if _, err := os.Lstat(filepath.Join(dir, sandbox.RecordFile)); err != nil || !sandbox.IsContainerID(id) {
			continue
		}
		if ctx.Err() != nil {
			return outcome{err: ctx.Err()}
		}
		a.Bytes[id] = written(newArea(dir))
	}
	return outcome{body: a}
}

// firstPID hands a pidfd of the container's first process over: numbers of the keeper's pid namespace mean nothing outside.
func (s *server) firstPID(_ context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.PIDRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Of())
	if err != nil {
		return outcome{err: err}
	}
	c.mu.Lock()
	p := c.last
	c.mu.Unlock()
	if p == nil || p.hasEnded() {
		return outcome{err: sandbox.Errorf(sandbox.CodeNotRunning, "find the first process of container %s: its program does not run", c.displayName())}
	}
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return outcome{err: fmt.Errorf("open the first process: %w", err)}
	}
	return outcome{files: []*os.File{os.NewFile(uintptr(fd), "pidfd")}}
}
