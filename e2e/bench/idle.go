package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// idleSize is the number of idle containers that are weighed together.
const idleSize = 20

// mebibyte is the unit of memory chips.
const mebibyte = 1 << 20

// idleContest weighs idle containers without what runs in them: what the caller, the keeper and the helpers of each
// container take more than they did before there were any.
func idleContest(l *lab, c config) contest {
	return contest{
		name: "idle", title: fmt.Sprintf("idle: memory (PSS) of each of %d idle containers, beyond their workload", idleSize), unit: "MiB", meter: ownGauge,
		rounds: c.few(), contenders: []*contender{idleKit(l), idlePodman(l)},
	}
}

func idleKit(l *lab) *contender {
	c := overKit(l, l.busybox())
	c.gauge = func() (reading, error) {
		if err := useOnce(l); err != nil {
			return reading{}, err
		}
		return weighEach(func(int) error { return (&idler{lab: l}).start() })
	}
	c.release = testkit.Shutdown // a keeper that has had many containers has memory to spare for the next ones
	return c
}

// useOnce starts a keeper and has it do everything once that an idle container needs, so that what it keeps from that
// does not count.
func useOnce(l *lab) error {
	box := idler{lab: l}
	return errors.Join(box.start(), closeKit(box.Container))
}

func idlePodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	idle := func(i int) error { return l.run(p.idle(fmt.Sprint("idle", i))) }
	c.about = p.about
	c.prepare = func() error {
		return errors.Join(p.ready(c.dir, l.busybox(), func() *exec.Cmd { return p.idle("idle") }), p.end())
	}
	c.gauge = func() (reading, error) { return weighEach(idle) }
	c.release, c.finish = p.end, p.end
	return c
}

// weighEach starts containers one after the other and returns what each adds to the memory of this process and those
// below it.
func weighEach(start func(i int) error) (reading, error) {
	debug.FreeOSMemory()
	empty := weigh(append(descendants(), os.Getpid()))
	for i := range idleSize {
		if err := start(i); err != nil {
			return reading{}, err
		}
	}
	time.Sleep(calm)
	debug.FreeOSMemory()
	full := weigh(append(descendants(), os.Getpid()))
	return reading{value: (full.value - empty.value) / idleSize, byRSS: full.byRSS}, nil
}

// calm is how long what has started something may go on with what can wait.
const calm = 500 * time.Millisecond

// weigh returns the memory of processes in MiB. The workload of idle containers does not count.
func weigh(pids []int) reading {
	var w watcher
	var sum int64
	for _, pid := range pids {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(string(name)) != "sleep" {
			sum += w.memoryOf(pid)
		}
	}
	return reading{value: float64(sum) / mebibyte, byRSS: w.byRSS}
}

// keeperContest weighs a keeper that has no container, but has had one.
func keeperContest(l *lab, c config) contest {
	return contest{
		name: "keeper", title: "keeper: memory (PSS) of a keeper without containers", unit: "MiB", meter: ownGauge,
		rounds: c.few(), contenders: []*contender{keeperClient(l)},
	}
}

func keeperClient(l *lab) *contender {
	keeper := &client{lab: l}
	c := &contender{name: nameBivouac, ours: true}
	c.prepare = func() error { return l.fetch(l.busybox()) }
	c.gauge = func() (reading, error) {
		before := weigh(descendants())
		if err := keeper.open(); err != nil {
			return reading{}, err
		}
		if err := runTrue(keeper); err != nil {
			return reading{}, err
		}
		time.Sleep(calm)
		after := weigh(descendants())
		return reading{value: after.value - before.value, byRSS: after.byRSS}, nil
	}
	c.release = keeper.close
	return c
}

// runTrue runs a program that does nothing in a container and discards that.
func runTrue(c *client) error {
	container, err := c.Create(c.lab.ctx, sandbox.Spec{Image: c.lab.busybox(), Args: []string{"/bin/true"}}, nil)
	if err != nil {
		return err
	}
	if err := container.Start(c.lab.ctx, sandbox.Streams{}); err != nil {
		return err
	}
	return errors.Join(succeed(c.lab.ctx, container), container.Discard(c.lab.ctx))
}
