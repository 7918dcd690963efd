package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// pauseLimit is how long everything in a container may take to stop. A process in a system call that cannot be
// interrupted, as on a dead network file system, stops only after it.
const pauseLimit = 10 * time.Second

// pause stops everything in the container.
func (c *container) pause(ctx context.Context, _ sandbox.PauseRequest) (any, error) {
	c.pausing.Lock()
	defer c.pausing.Unlock()
	p, err := c.running("pause")
	if err != nil || c.paused.Load() {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pauseLimit)
	defer cancel()
	if err := c.stopAll(ctx, p); err != nil {
		_ = c.continueAll()
		return nil, fmt.Errorf("pause container %s: %w", c.displayName(), err)
	}
	c.paused.Store(true)
	c.pauses.Add(1)
	c.recordPaused(true)
	c.emit("pause")
	return nil, nil
}

// resume continues everything in the container.
func (c *container) resume(_ context.Context, _ sandbox.PauseRequest) (any, error) {
	c.pausing.Lock()
	defer c.pausing.Unlock()
	_, err := c.running("resume")
	if err != nil || !c.paused.Load() {
		return nil, err
	}
	if err := c.continueAll(); err != nil {
		return nil, fmt.Errorf("resume container %s: %w", c.displayName(), err)
	}
	c.paused.Store(false)
	c.pauses.Add(1)
	c.recordPaused(false)
	c.emit("unpause")
	return nil, nil
}

// stopAll freezes the container's cgroup if it has one, and otherwise stops each process.
func (c *container) stopAll(ctx context.Context, p *program) error {
	if dir := c.cgroupDir(); dir != "" {
		return freeze(ctx, dir)
	}
	c.stopped = map[int]bool{}
	blocked := 0 // rounds in a row
	return eachRound(ctx, func() (bool, error) {
		least, err := c.stopEach(p)
		if least != isBlocked {
			blocked = 0
			return least == isStopped, err
		}
		blocked++
		return blocked == blockedRounds, err
	})
}

// blockedRounds is how many rounds a process may be in a system call that it cannot leave before that counts as stopped:
// 25 ms. Most system calls end sooner; the parent in a vfork(2) waits for its child, which is stopped.
const blockedRounds = 8

// stopEach sends SIGSTOP, from outside also to the first process, to what runs, and tells how far the least stopped was:
// what was forked meanwhile is found by the next round. Once the signal is sent, the kernel lets nobody fork any more.
func (c *container) stopEach(p *program) (least activity, err error) {
	list, err := processesBelow(p.pid)
	if err != nil {
		return isRunning, err
	}
	least = isStopped
	for _, pid := range list {
		now := activityOf(pid)
		if now != isStopped && !c.stopped[pid] {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
				return isRunning, fmt.Errorf("stop process %d: %w", pid, err)
			}
			c.stopped[pid], now = true, isRunning
		}
		least = min(least, now)
	}
	return least, nil
}

// continueAll leaves those stopped that were so before the pause.
func (c *container) continueAll() error {
	if dir := c.cgroupDir(); dir != "" {
		return writeFreeze(dir, "0")
	}
	for pid := range c.stopped {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("continue process %d: %w", pid, err)
		}
	}
	c.stopped = nil
	return nil
}

// cgroupDir is the container's own cgroup, empty if it has none.
func (c *container) cgroupDir() string {
	path := c.cgroupPath()
	if path == "" {
		return ""
	}
	return filepath.Join(cgroupRoot, path)
}

// cgroupPath is that from the hierarchy's root.
func (c *container) cgroupPath() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config.Cgroups.Path
}

// freeze uses cgroup.freeze (Linux 5.2), and returns when cgroup.events tells that all has stopped.
func freeze(ctx context.Context, dir string) error {
	if err := writeFreeze(dir, "1"); err != nil {
		return err
	}
	return eachRound(ctx, func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		if err != nil {
			return false, fmt.Errorf("read the cgroup's state: %w", err)
		}
		return strings.Contains(string(text), "frozen 1"), nil
	})
}

func writeFreeze(dir, value string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(value), 0); err != nil {
		return fmt.Errorf("write the cgroup's freezer: %w", err)
	}
	return nil
}

// eachRound repeats with growing pauses until round is done.
func eachRound(ctx context.Context, round func() (done bool, err error)) error {
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		if done, err := round(); done || err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return sandbox.Errorf(sandbox.CodeInternal, "not everything has stopped: %v", ctx.Err())
		}
	}
}
