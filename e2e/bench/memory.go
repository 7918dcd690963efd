package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// interval is how long the watcher sleeps between two looks.
const interval = 5 * time.Millisecond

// A watcher looks at the memory of all processes below this one. PSS counts a page that several processes share once.
type watcher struct {
	apart []int // processes that do not count
	peak  int64 // bytes
	// byRSS are the names of processes that do not let others see their PSS, such as set-user-ID programs: what
	// counts is their RSS, which is never less.
	byRSS []string
	stop  chan struct{}
	done  chan struct{}
}

func watch(apart []int) *watcher {
	w := &watcher{apart: apart, stop: make(chan struct{}), done: make(chan struct{})}
	go w.loop()
	return w
}

func (w *watcher) loop() {
	defer close(w.done)
	for {
		w.look()
		select {
		case <-w.stop:
			return
		case <-time.After(interval):
		}
	}
}

func (w *watcher) end() {
	close(w.stop)
	<-w.done
}

func (w *watcher) look() {
	var sum int64
	for _, pid := range descendants() {
		if !slices.Contains(w.apart, pid) {
			sum += w.memoryOf(pid)
		}
	}
	w.peak = max(w.peak, sum)
}

// memoryOf returns bytes, 0 of a process that has ended.
func (w *watcher) memoryOf(pid int) int64 {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if text, err := os.ReadFile(dir + "smaps_rollup"); err == nil {
		return parsePSS(text)
	}
	text, err := os.ReadFile(dir + "statm")
	if err != nil {
		return 0
	}
	rss := parseRSS(text)
	if name, err := os.ReadFile(dir + "comm"); err == nil && rss > 0 {
		w.byRSS = append(w.byRSS, strings.TrimSpace(string(name)))
	}
	return rss
}

// parsePSS reads /proc/PID/smaps_rollup (proc_pid_smaps(5)), whose unit is 1024 bytes.
func parsePSS(text []byte) int64 {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "Pss:" {
			return number(fields[1]) * 1024
		}
	}
	return 0
}

// parseRSS reads /proc/PID/statm (proc_pid_statm(5)), whose unit is a page.
func parseRSS(text []byte) int64 {
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	return number(fields[1]) * int64(os.Getpagesize())
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// largest returns the most memory, in bytes, that any one process of the commands and of those they waited for has had
// resident, as the kernel has kept it (getrusage(2)): nothing was missed between two looks, but it is no sum.
func largest(cmds []*exec.Cmd) int64 {
	var most int64
	for _, cmd := range cmds {
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			most = max(most, usage.Maxrss*1024)
		}
	}
	return most
}
