package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// descendants returns the processes below this one. Some may have ended since. It needs CONFIG_PROC_CHILDREN, which
// checkpointing needs too.
func descendants() []int {
	var all []int
	for waiting := []int{os.Getpid()}; len(waiting) > 0; waiting = waiting[1:] {
		children := childrenOf(waiting[0])
		all = append(all, children...)
		waiting = append(waiting, children...)
	}
	return all
}

// childrenOf asks each thread: the kernel lists a child with the thread that made it.
func childrenOf(pid int) []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // the pattern is well formed
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
