package keeper

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// maxArgs bounds what is read of a command line: a program may make its own as long as it likes.
const maxArgs = 64 << 10

func (c *container) processes(context.Context, sandbox.ProcessesRequest) (any, error) {
	p, err := c.running("list the processes of")
	if err != nil {
		return nil, err
	}
	pids, err := processesBelow(p.pid)
	if err != nil {
		return nil, c.ended("list the processes of") // the first process is there as long as the container is
	}
	booted, err := bootTime()
	if err != nil {
		return nil, err
	}
	inner := map[int]int{}
	list := []sandbox.ProcessInfo{}
	for _, pid := range pids {
		if c.isCRIU(pid) {
			continue
		}
		if info, err := processInfo(pid, booted); err == nil { // else it is gone meanwhile
			inner[pid] = info.PID
			info.UID = c.userOf(pid, info.UID)
			list = append(list, info)
		}
	}
	for i := range list {
		list[i].PPID = inner[list[i].PPID] // 0 if the parent is not the container's
	}
	slices.SortFunc(list, func(a, b sandbox.ProcessInfo) int { return cmp.Compare(a.PID, b.PID) })
	return list, nil
}

// userOf returns the user that a process is for the container: with a single id all are root for the kernel.
func (c *container) userOf(pid, uid int) int {
	if !c.k.single() {
		return uid
	}
	if emulated, ok := c.emulation.User(pid); ok {
		return int(emulated)
	}
	return c.user.uid
}

// processInfo tells of a process. PPID is a number of the keeper's.
func processInfo(pid int, booted time.Time) (sandbox.ProcessInfo, error) {
	stat, err := readStat(pid)
	if err != nil {
		return sandbox.ProcessInfo{}, err
	}
	status, err := procFields(pid, "status")
	if err != nil {
		return sandbox.ProcessInfo{}, err
	}
	numbers, users := strings.Fields(status["NSpid"]), strings.Fields(status["Uid"])
	if len(numbers) < 2 || len(users) < 2 {
		return sandbox.ProcessInfo{}, fmt.Errorf("read process %d: no number in the container", pid)
	}
	args, err := readArgs(pid)
	return sandbox.ProcessInfo{
		PID: int(number(numbers[1])), PPID: stat.parent, UID: int(number(users[1])), Args: args, Name: stat.comm, State: stat.state,
		RSS: stat.rss * int64(os.Getpagesize()), Started: booted.Add(ticks(stat.started)),
		Size: stat.size, Threads: stat.threads, CPU: ticks(stat.user + stat.system), TTY: terminalName(stat.terminal),
	}, err
}

// ticks is proc(5)'s unit of time: USER_HZ is 100 everywhere.
func ticks(n int64) time.Duration { return time.Duration(n) * (time.Second / 100) }

// bootTime is what start times of processes count from.
func bootTime() (time.Time, error) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}, fmt.Errorf("read the time since boot: %w", err)
	}
	return time.Now().Add(-time.Duration(since.Nano())).Round(0), nil
}

func readArgs(pid int) ([]string, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxArgs))
	if err != nil || len(text) == 0 {
		return nil, err
	}
	args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	for i := range args {
		args[i] = strings.ToValidUTF8(args[i], "\uFFFD")
	}
	return args, nil
}
