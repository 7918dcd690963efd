package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
)

// withFiles takes the files of a program that was asked to end, or that is stopped for the moment, or does not run. Where
// that fails the container goes on.
func (k *checkpointing) withFiles(ctx context.Context) (_ *snapshot.Snapshot, err error) {
	k.mine.Tier, k.mine.Quality = sandbox.TierFiles, sandbox.QualityClean
	memory, err := k.openMemory()
	if err != nil {
		return nil, err
	}
	defer closeAll(memory)
	if k.p != nil {
		resume, err2 := k.quiesce(ctx)
		defer func() { err = errors.Join(err, resume(k.spec.LeaveRunning || err != nil)) }()
		if err2 != nil {
			return nil, err2
		}
	}
	if err := k.saveFiles(ctx, memory); err != nil {
		return nil, err
	}
	return k.finish()
}

// quiesce has the program change nothing until resume is called, after which it runs again or is gone for good.
func (k *checkpointing) quiesce(ctx context.Context) (resume func(again bool) error, err error) {
	if k.spec.Quality != sandbox.QualityLive {
		return k.interrupt(ctx)
	}
	k.mine.Quality = sandbox.QualityLive
	_, err = k.c.pause(ctx, sandbox.PauseRequest{})
	return func(again bool) error {
		if !again {
			k.p.kill()
			return nil
		}
		_, err := k.c.resume(context.Background(), sandbox.PauseRequest{})
		return err
	}, err
}

// interrupt asks the program to end. Whoever waits for its end waits for that of the program that takes its place.
func (k *checkpointing) interrupt(ctx context.Context) (resume func(again bool) error, err error) {
	nothing := func(bool) error { return nil }
	if k.c.spec.Terminal != nil && k.spec.LeaveRunning {
		return nothing, sandbox.Errorf(sandbox.CodeInvalid, "checkpoint container %s: a program in a terminal cannot be started again", k.c.displayName()).
			WithRemedy("take live files, or have it end")
	}
	streams, err := streamsOf(k.p.pid)
	if err != nil {
		return nothing, err
	}
	k.c.mu.Lock()
	k.p.interrupted = true
	k.c.mu.Unlock()
	return func(again bool) error {
		defer closeFiles(streams)
		if !again || k.c.spec.Terminal != nil {
			return nil
		}
		k.p.kill() // it was asked to end, and may not have
		next, err := k.c.beginAlone(streams)
		k.p.next = next
		return err
	}, k.stop(ctx)
}

// streamsOf returns the standard streams of a process (pidfd_getfd(2), Linux 5.6). The null device takes the place of a
// closed one.
func streamsOf(pid int) (streams []*os.File, err error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	for n := range 3 {
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if errors.Is(err, unix.EBADF) {
			fd, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			closeFiles(streams)
			return nil, fmt.Errorf("take over stream %d of process %d: %w", n, pid, err)
		}
		streams = append(streams, os.NewFile(uintptr(fd), "stream"))
	}
	return streams, nil
}

// defaultStopTimeout is Docker's.
const defaultStopTimeout = 10 * time.Second

// stop asks the program to end. One that has to be killed has not written what it wanted to.
func (k *checkpointing) stop(ctx context.Context) error {
	timeout := k.spec.StopTimeout
	if timeout == 0 {
		timeout = defaultStopTimeout
	}
	_ = k.p.first.Signal(syscall.Signal(k.c.proc.stopSignal)) // fails only where it has ended
	select {
	case <-k.p.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(timeout):
	}
	k.mine.Quality = sandbox.QualityLive
	k.p.kill()
	return nil
}
