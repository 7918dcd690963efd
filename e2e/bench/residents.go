package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long what a command leaves behind may take to end before it counts as there to stay.
const patience = 2 * time.Second

// residents are the processes below this one that are there to stay, such as the one by which podman holds on to its
// namespaces. They belong to no measurement. The zero value is ready.
type residents []int

// adoptOrphans makes this process the parent of every descendant whose own parent ends.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become reaper: %w", err)
	}
	return nil
}

// settle waits until what commands left behind has ended, so that it does not disturb what comes next, and takes for
// residents what has not ended in time. It must not be called while a command runs.
func (r *residents) settle() {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		reap()
		alive := descendants()
		*r = slices.DeleteFunc(*r, func(pid int) bool { return !slices.Contains(alive, pid) })
		if len(alive) == len(*r) {
			return
		}
		if time.Now().After(deadline) {
			*r = alive
			return
		}
	}
}

// end ends the residents.
func (r *residents) end() {
	r.settle()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range *r {
			_ = syscall.Kill(pid, signal) // one that has just ended is as good
		}
		*r = nil
		r.settle()
	}
}

// reap collects the children that have ended.
func reap() {
	for {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
