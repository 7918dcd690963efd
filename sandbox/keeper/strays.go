package keeper

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// children are the processes in containers that the keeper has started and waits for.
//
// libcontainer forgets its own processes when a start fails half-way, as when the container ends at the same time. They
// are children of the keeper too, and as long as nobody waits for one that is in a container's pid namespace, the kernel
// does not let the container's first process end.
type children struct {
	mu      sync.Mutex
	pids    map[*libcontainer.Process]int
	reaping bool
}

// wait returns a channel that gets what waiting for the process returns.
func (c *children) wait(p *libcontainer.Process) <-chan error {
	c.mu.Lock()
	if c.pids == nil {
		c.pids = map[*libcontainer.Process]int{}
	}
	c.pids[p], _ = p.Pid() // fails only before the start
	c.mu.Unlock()
	exited := make(chan error, 1)
	go func() {
		_, err := p.Wait()
		c.mu.Lock()
		delete(c.pids, p)
		c.mu.Unlock()
		exited <- err
	}()
	return exited
}

func result(exited <-chan error) error { return <-exited }

// Strays are looked for in rounds. One that is there in two of them is not about to be waited for by libcontainer.
const (
	strayRound  = 30 * time.Millisecond
	strayRounds = 10
)

// reap waits, in the background, for what libcontainer has forgotten.
func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaping {
		return
	}
	c.reaping = true
	go func() {
		before := map[int]bool{}
		for range strayRounds {
			before = c.round(before)
			time.Sleep(strayRound)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reaping = false
	}()
}

// round waits for the strays that were there before, and returns those that are new.
func (c *children) round(before map[int]bool) map[int]bool {
	found := map[int]bool{}
	for _, pid := range c.strays() {
		if before[pid] {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			continue
		}
		found[pid] = true
	}
	return found
}

// strays lists libcontainer's own processes that have ended and for which nobody has waited.
func (c *children) strays() []int {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		s, ok := readStatus(pid)
		if ok && s.zombie && s.parent == os.Getpid() && strings.HasPrefix(s.name, "runc:[") && !c.knows(pid) {
			list = append(list, pid)
		}
	}
	return list
}

func (c *children) knows(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.pids {
		if known == pid {
			return true
		}
	}
	return false
}

func pidNamespace(pid int) (string, error) {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return "", fmt.Errorf("read pid namespace of process %d: %w", pid, err)
	}
	return name, nil
}

// processStatus is what /proc/PID/status tells of a process.
type processStatus struct {
	name   string
	zombie bool
	parent int
	inner  int // its number in its own pid namespace
}

func readStatus(pid int) (s processStatus, ok bool) {
	fields, err := procFields(pid, "status")
	if err != nil {
		return s, false
	}
	numbers := strings.Fields(fields["NSpid"])
	if len(numbers) == 0 {
		return s, false
	}
	return processStatus{
		name: fields["Name"], zombie: strings.HasPrefix(fields["State"], "Z"), parent: int(number(fields["PPid"])), inner: int(number(numbers[len(numbers)-1])),
	}, true
}
