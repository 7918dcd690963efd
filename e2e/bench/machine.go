package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns"
)

// A machine is where it was measured, and as whom.
type machine struct {
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	// IDs is how the user's ids are mapped.
	IDs string `json:"ids"`
	// Load is the average number of processes that wanted to run in the minute before (proc_loadavg(5)). Numbers of a
	// machine that had other things to do are worth little.
	LoadBefore string `json:"loadBefore"`
	LoadAfter  string `json:"loadAfter"`
}

func thisMachine() (machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return machine{}, os.NewSyscallError("uname", err)
	}
	ids, err := userns.Detect()
	if err != nil {
		return machine{}, err
	}
	m := machine{Kernel: unix.ByteSliceToString(name.Release[:]), CPUs: runtime.NumCPU(), IDs: "with subordinate ids"}
	if ids.Single() {
		m.IDs = "with one id"
	}
	return m, m.measureLoad(&m.LoadBefore)
}

func (*machine) measureLoad(load *string) error {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	*load, _, _ = strings.Cut(string(text), " ")
	return nil
}

func (m machine) String() string {
	return fmt.Sprintf("Linux %s, %d CPUs, load %s before and %s after; a user %s", m.Kernel, m.CPUs, m.LoadBefore, m.LoadAfter, m.IDs)
}
