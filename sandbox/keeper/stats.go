package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

func (c *container) stats(context.Context, sandbox.StatsRequest) (any, error) {
	const doing = "measure"
	p, err := c.running(doing)
	if err != nil {
		return nil, err
	}
	pids, err := processesBelow(p.pid)
	if err != nil {
		return nil, c.ended(doing)
	}
	s := &sandbox.Stats{Time: time.Now()}
	for _, pid := range pids {
		if err := addProcess(s, pid); err != nil && !isGone(err) {
			return nil, fmt.Errorf("measure container %s: %w", c.displayName(), err)
		}
	}
	if path := c.cgroupPath(); path != "" {
		if err := addCgroup(s, path); err != nil {
			return nil, fmt.Errorf("measure container %s: %w", c.displayName(), err)
		}
	}
	if c.spec.Network != sandbox.NetworkHost {
		if err := addNetwork(s, p.pid); err != nil && !isGone(err) {
			return nil, fmt.Errorf("measure container %s: %w", c.displayName(), err)
		}
	}
	if p.hasEnded() {
		return nil, c.ended(doing)
	}
	return s, nil
}

// isGone tells of a process that has ended meanwhile.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

func addProcess(s *sandbox.Stats, pid int) error {
	stat, err := readStat(pid)
	if err != nil {
		return err
	}
	s.Processes++
	s.Threads += stat.threads
	s.RSS += stat.rss * int64(os.Getpagesize())
	s.CPU += ticks(stat.user + stat.system + stat.childUser + stat.childSyst)
	if strings.Contains("ZX", stat.state) { // has no memory, and cannot be asked for more
		return nil
	}
	memory, err := procFields(pid, "smaps_rollup")
	if err != nil {
		return err
	}
	s.PSS += number(memory["Pss"]) << 10
	io, err := procFields(pid, "io")
	if err != nil {
		return err
	}
	s.Read += number(io["read_bytes"])
	s.Written += number(io["write_bytes"])
	return nil
}

// addCgroup replaces the sums by what the kernel has counted for the whole container. It counts only what has a limit.
func addCgroup(s *sandbox.Stats, path string) error {
	m, err := cgroupManager(&cgroups.Cgroup{Path: path, Rootless: true, Resources: &cgroups.Resources{}})
	if err != nil {
		return err
	}
	stats, err := m.GetStats()
	if err != nil {
		return err
	}
	s.CPU = max(s.CPU, time.Duration(stats.CpuStats.CpuUsage.TotalUsage))
	s.Memory = int64(stats.MemoryStats.Usage.Usage)
	return nil
}

// addNetwork sums the interfaces of the container. What goes through loopback is counted too, since it has no other.
func addNetwork(s *sandbox.Stats, pid int) (err error) {
	s.Received, s.Sent, err = readTraffic(pid)
	return err
}
