package criu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Confinement is what a container's processes may at most do.
type Confinement struct {
	// Capabilities is a set of them, bit by number: no thread has others, in whichever of its sets.
	Capabilities uint64
	// NoNewPrivileges and Filtered say that every thread has that attribute, and a seccomp filter.
	NoNewPrivileges, Filtered bool
}

// CheckConfined tells whether the processes, by their pids in the /proc at procfs, are confined, each thread of them. Called
// from [Hooks.PreResume] it judges restored processes before they do anything: images from elsewhere say what they like.
//
// Errors: the first thread that is not; a process that is gone.
func CheckConfined(procfs string, pids []int, c Confinement) error {
	for _, pid := range pids {
		dir := filepath.Join(procfs, strconv.Itoa(pid), "task")
		threads, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("check confinement: %w", err)
		}
		for _, thread := range threads {
			status, err := os.ReadFile(filepath.Join(dir, thread.Name(), "status"))
			if err == nil {
				err = c.check(status)
			}
			if err != nil {
				return fmt.Errorf("check confinement of thread %s of process %d: %w", thread.Name(), pid, err)
			}
		}
	}
	return nil
}

// check judges one /proc/PID/status. A zombie, which can do nothing, passes.
func (c Confinement) check(status []byte) error {
	if state := statusField(status, "State"); state != "" && state[0] == 'Z' {
		return nil
	}
	if mode := statusField(status, "Seccomp"); c.Filtered && mode != strconv.Itoa(modeFilter) {
		return fmt.Errorf("it has no seccomp filter (mode %q)", mode)
	}
	if statusField(status, "NoNewPrivs") != "1" && c.NoNewPrivileges {
		return fmt.Errorf("it may get new privileges")
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		has, err := strconv.ParseUint(statusField(status, set), 16, 64)
		if err != nil {
			return err
		}
		if more := has &^ c.Capabilities; more != 0 {
			return fmt.Errorf("it has capabilities that the container has not: %s %#x", set, more)
		}
	}
	return nil
}

// statusField is the value of a line of /proc/PID/status, empty if there is none.
func statusField(status []byte, name string) string {
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
