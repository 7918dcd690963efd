package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroup returns where the container's limits are enforced, relative to the root of the hierarchy, or nothing without
// limits. Where none can be enforced that is an error, or with best effort a warning.
func (c *container) cgroup() (string, error) {
	if c.spec.Limits.BestEffort {
		c.warnings = append(c.warnings, dropLimits(&c.spec.Limits)...)
	}
	return c.cgroupFor(c.spec.Limits)
}

func (c *container) cgroupFor(l sandbox.Limits) (string, error) {
	if l.IsZero() {
		return "", nil
	}
	dir, err := delegatedCgroup(controllers(l))
	if err != nil {
		return "", err
	}
	sweepCgroups(dir)
	c.k.cgroups.Store(true)
	return filepath.Join("/", strings.TrimPrefix(dir, cgroupRoot), "bivouac-"+c.id[:12]), nil
}

// dropLimits gives the limits up whose controller cannot be had, with a warning for each.
func dropLimits(l *sandbox.Limits) (warnings []string) {
	for _, name := range controllers(*l) {
		_, err := delegatedCgroup([]string{name})
		if err == nil {
			continue
		}
		warnings = append(warnings, "no limits: "+err.Message)
		switch name {
		case "memory":
			l.Memory, l.Swap = 0, 0
		case "cpu":
			l.CPUs = 0
		case "pids":
			l.PIDs = 0
		}
	}
	return warnings
}

// sweepCgroups removes what keepers left that were killed. A cgroup with processes stays, and one that is so young that
// its keeper may not have filled it yet.
func sweepCgroups(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "bivouac-*"))
	for _, path := range left {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > time.Minute {
			_ = unix.Rmdir(path)
		}
	}
}

func controllers(l sandbox.Limits) []string {
	var need []string
	if l.Memory != 0 || l.Swap != 0 {
		need = append(need, "memory")
	}
	if l.CPUs != 0 {
		need = append(need, "cpu")
	}
	if l.PIDs != 0 {
		need = append(need, "pids")
	}
	return need
}

// delegatedCgroup returns the nearest directory above the keeper's own cgroup in which this user may create cgroups that
// have the controllers. The own one is out of the question: a cgroup with processes cannot hand controllers down
// (cgroups(7), "no internal processes").
func delegatedCgroup(need []string) (string, *sandbox.Error) {
	own, err := userns.OwnCgroup()
	if err != nil {
		return "", limitError(need, err.Error(), "mount cgroup v2 on "+cgroupRoot)
	}
	missing := need
	var busy error
	for dir := filepath.Dir(filepath.Join(cgroupRoot, own)); strings.HasPrefix(dir, cgroupRoot); dir = filepath.Dir(dir) {
		if !writable(dir) {
			continue
		}
		if missing = lacking(dir, need); len(missing) == 0 {
			if busy = handDown(dir, need); busy == nil {
				return dir, nil
			}
		}
	}
	if busy != nil { // it has processes of its own
		return "", limitError(need, busy.Error(), "start bivouac by systemd-run --user --scope")
	}
	if absent := lacking(cgroupRoot, need); len(absent) > 0 {
		return "", limitError(need, fmt.Sprintf("this machine's cgroup v2 hierarchy lacks the controller %s", strings.Join(absent, ", ")),
			"boot with systemd.unified_cgroup_hierarchy=1")
	}
	return "", limitError(missing, "no cgroup with that controller is delegated to you", "start bivouac by systemd-run --user --scope, and see Delegate= in systemd.resource-control(5)")
}

func limitError(need []string, why, remedy string) *sandbox.Error {
	return sandbox.Errorf(sandbox.CodeLimits, "limit %s: %s", strings.Join(need, ", "), why).WithRemedy("%s, or give --limits=best-effort", remedy)
}

func writable(dir string) bool {
	return unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil &&
		unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK) == nil
}

func lacking(dir string, need []string) []string {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	have := strings.Fields(string(text))
	return slices.DeleteFunc(slices.Clone(need), func(n string) bool { return slices.Contains(have, n) })
}

func handDown(dir string, need []string) error {
	text := "+" + strings.Join(need, " +")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(text), 0); err != nil {
		return fmt.Errorf("enable controllers: %w", err)
	}
	return nil
}

// oomKilled tells whether the kernel killed something for the memory limit (cgroup-v2.rst, memory.events).
func (c *container) oomKilled() bool {
	dir := c.cgroupDir()
	if dir == "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(dir, "memory.events")) // not there without a limit
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}
