package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs2"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// update changes limits, at once where the program runs, and the restart policy. Nothing is changed where one of them cannot be.
func (c *container) update(_ context.Context, r sandbox.UpdateRequest) (any, error) {
	c.starting.Lock() // no start works with half of it
	defer c.starting.Unlock()
	if c.isDiscarding() {
		return nil, c.gone("update")
	}
	wanted := *c.spec
	if r.Update.Restart != nil {
		wanted.Restart = *r.Update.Restart
	}
	var done sandbox.Updated
	if r.Update.Limits != nil {
		wanted.Limits = *r.Update.Limits
	}
	err := checkSpec(&wanted)
	if err == nil && r.Update.Limits != nil {
		done.Warnings, err = c.limit(&wanted)
	}
	if err != nil {
		return nil, fmt.Errorf("update container %s: %w", c.displayName(), err)
	}
	if err := c.recordSpec(func(s *sandbox.Spec) { s.Limits, s.Restart = wanted.Limits, wanted.Restart }); err != nil {
		return nil, err
	}
	c.emit("update")
	return done, nil
}

// limit enforces the wanted limits. Those that cannot be had are taken out of wanted with best effort.
func (c *container) limit(wanted *sandbox.Spec) (warnings []string, err error) {
	if wanted.Limits.BestEffort {
		warnings = dropLimits(&wanted.Limits)
	}
	path := c.cgroupPath()
	if path == "" {
		if path, err = c.cgroupFor(wanted.Limits); err != nil || path == "" {
			return warnings, err
		}
	} else if need := controllers(wanted.Limits); len(need) > 0 {
		if _, err := delegatedCgroup(need); err != nil {
			return warnings, err
		}
	}
	next := cgroup(&blueprint{spec: wanted, cgroup: path})
	if p, err := c.running("update"); err == nil {
		if err := c.enforce(p, next, c.spec.Limits); err != nil {
			return warnings, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config.Cgroups = next
	return warnings, nil
}

// enforce sets the limits of a program that runs. Where it has none so far, all of the container moves into a cgroup.
func (c *container) enforce(p *program, next *cgroups.Cgroup, before sandbox.Limits) error {
	resources := *next.Resources
	lift(&resources, before)
	next = &cgroups.Cgroup{Path: next.Path, Rootless: true, Resources: &resources}
	m, err := cgroupManager(next)
	if err != nil {
		return err
	}
	if c.cgroupPath() == "" {
		if err := c.join(p, m); err != nil {
			return err
		}
	}
	if err := m.Set(&resources); err != nil {
		return sandbox.Errorf(sandbox.CodeLimits, "set limits: %v", err).WithRemedy("it may use more already: see bivouac stats")
	}
	return nil
}

// lift tells the kernel of limits that there are no more; libcontainer takes 0 for what is not to be changed.
func lift(r *cgroups.Resources, before sandbox.Limits) {
	unlimited := int64(-1)
	if r.Memory == 0 && r.MemorySwap == 0 && (before.Memory != 0 || before.Swap != 0) {
		r.Memory, r.MemorySwap = unlimited, unlimited
	}
	if r.PidsLimit == nil && before.PIDs != 0 {
		r.PidsLimit = &unlimited
	}
	if r.CpuQuota == 0 && before.CPUs != 0 {
		r.CpuPeriod, r.CpuQuota = cpuPeriod, unlimited
	}
}

func cgroupManager(c *cgroups.Cgroup) (*fs2.Manager, error) {
	m, err := fs2.NewManager(c, filepath.Join(cgroupRoot, c.Path))
	if err != nil {
		return nil, fmt.Errorf("use the cgroup %s: %w", c.Path, err)
	}
	return m, nil
}

// join moves everything in the container into a cgroup: first the first process, then whatever is found outside until nothing
// is. What a process forks is where it is itself.
func (c *container) join(p *program, m *fs2.Manager) error {
	c.pausing.Lock()
	defer c.pausing.Unlock()
	if c.paused.Load() { // by signals, which the cgroup's freezer would know nothing of
		return sandbox.Errorf(sandbox.CodeInvalid, "limit a paused container that had no limits").WithRemedy("continue it: bivouac unpause %s", c.displayName())
	}
	if err := m.Apply(p.pid); err != nil {
		return sandbox.Errorf(sandbox.CodeLimits, "make a cgroup: %v", err)
	}
	c.joined = m.Path("")
	moved := map[int]bool{p.pid: true}
	for found := true; found; {
		list, err := processesBelow(p.pid)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(pid int) bool { return moved[pid] })
		for _, pid := range list {
			err := os.WriteFile(filepath.Join(c.joined, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("move process %d to a cgroup: %w", pid, err)
			}
			moved[pid] = true
		}
		found = len(list) > 0
	}
	return nil
}

// leaveCgroup removes the cgroup that the container has joined. Nothing runs in it any more.
func (c *container) leaveCgroup() {
	if c.joined != "" {
		_ = unix.Rmdir(c.joined) // else the next keeper sweeps it
		c.joined = ""
	}
}
