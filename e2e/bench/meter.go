package main

import (
	"os/exec"
	"time"
)

// A meter runs commands one after the other and measures them.
type meter func(*lab, []*exec.Cmd) (reading, error)

// A reading is what a meter shows.
type reading struct {
	value float64
	// largest is the resident memory of the largest process in MB, 0 from a meter that does not measure memory.
	largest float64
	byRSS   []string
}

// clock measures milliseconds of wall-clock time.
func clock(l *lab, cmds []*exec.Cmd) (reading, error) {
	begin := time.Now()
	err := l.run(cmds...)
	return reading{value: float64(time.Since(begin)) / float64(time.Millisecond)}, err
}

// megabyte is that of disks and networks, not of memory chips: the larger number is the one to be judged by.
const megabyte = 1e6

// scales measures the peak of memory in MB. Its looking slows the commands down, so it is no clock.
func scales(l *lab, cmds []*exec.Cmd) (reading, error) {
	w := watch(l.residents)
	err := l.run(cmds...)
	w.end()
	if err != nil {
		return reading{}, err
	}
	return reading{float64(w.peak) / megabyte, float64(largest(cmds)) / megabyte, w.byRSS}, nil
}
