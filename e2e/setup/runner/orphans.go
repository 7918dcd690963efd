package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long what a suite started may live on after it, also on a slow machine that has more to do.
const grace = 30 * time.Second

// adoptOrphans makes the runner the parent of every descendant whose own parent ends, as it does to a daemon.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become reaper: %w", err)
	}
	return nil
}

// endOrphans waits until no child is left, and kills those that are after a time of grace. It returns their command
// lines. It must not be called while a command runs.
func endOrphans(grace time.Duration) []string {
	var leaked []string
	for deadline := time.Now().Add(grace); ; time.Sleep(20 * time.Millisecond) {
		alive := reap(children())
		if len(alive) == 0 {
			return leaked
		}
		if time.Now().After(deadline) {
			for _, pid := range alive {
				leaked = append(leaked, commandLine(pid))
				_ = syscall.Kill(pid, syscall.SIGKILL) // one that has just ended is as good
			}
			deadline = time.Now().Add(grace)
		}
	}
}

// reap collects those of pids that have ended and returns the others.
func reap(pids []int) []int {
	var alive []int
	for _, pid := range pids {
		if got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); got != pid && err == nil {
			alive = append(alive, pid)
		}
	}
	return alive
}

func children() []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid: the name may hold anything.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func commandLine(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(data) == 0 {
		data, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	}
	return fmt.Sprintf("%d %s", pid, strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " ")))
}
