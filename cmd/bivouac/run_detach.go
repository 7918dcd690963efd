package main

import (
	"context"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// detachable is a container whose program runs.
type detachable interface {
	Detach(ctx context.Context, outputs ...*os.File) error
	DiscardAtEnd(ctx context.Context) error
}

// leaveRunning has the container outlive this program, until its own ends if it is to be discarded then. The keeper gets its
// terminal back if that was ours.
func leaveRunning(ctx context.Context, c detachable, discard bool, terminal ...*os.File) error {
	if err := c.Detach(ctx, terminal...); err != nil || !discard {
		return err
	}
	return c.DiscardAtEnd(ctx)
}

// startStaying is startClient for a keeper that outlives this program. It gets none of the files that were open here when
// this program was started: somebody may wait for their end, or hold a lock by them.
func startStaying(ctx context.Context) (*sandbox.Client, error) {
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil { // Linux 5.11
		closeOnExec()
	}
	return startClient(ctx)
}

func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // then no keeper can be started either
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
