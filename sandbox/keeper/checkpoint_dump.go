package keeper

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot/criu"
)

// obstacle tells why the processes cannot be had, as far as that can be seen without looking at them.
func (k *checkpointing) obstacle() error {
	c := k.c
	switch {
	case k.p == nil:
		return checkpointError("the program does not run").WithRemedy("start it first")
	case !c.spec.Checkpointable:
		return checkpointError("the container was not made for it").WithRemedy("make it with Spec.Checkpointable, or run --checkpointable")
	case c.plan.stage == nil:
		return checkpointError("libcontainer's own init has started the container").WithRemedy("see the container's warnings for why it did")
	case kernelOlderThan(overlayMaps):
		return checkpointError("Linux %s does not show which file of an overlay a program has mapped", kernelRelease()).WithRemedy("use Linux 6.8 or newer")
	}
	_, err := c.k.criu.find()
	return err
}

// dump writes the processes' images, and copies the files while the processes are stopped. They go on afterwards.
func (k *checkpointing) dump(ctx context.Context) error {
	k.tree = &frozenTree{Root: firstPID}
	memory, err := k.openMemory()
	if err != nil {
		return err
	}
	defer closeAll(memory)
	if err := k.inspect(); err != nil {
		return err
	}
	images, err := k.draft.Images()
	if err != nil {
		return err
	}
	if err := k.dumpTo(ctx, images, memory); err != nil {
		return err
	}
	if err := criu.ClearDeathSignal(images); err != nil || len(k.c.plan.filter) == 0 {
		return err
	}
	return criu.AddSeccomp(images, k.c.plan.filter, uint32(k.c.plan.filterFlags))
}

func (k *checkpointing) dumpTo(ctx context.Context, images string, memory []memoryTree) error {
	notify, serve, err := k.c.bridged()
	if err != nil {
		return err
	}
	first := make(chan int, 1)
	first <- k.p.pid
	r, err := k.c.startCRIU(first, criuOptions{images: images, writable: true, notify: notify, serve: serve})
	if err != nil {
		return err
	}
	defer r.end()
	k.c.dumping.Store(true)
	defer k.c.dumping.Store(false)
	err = criu.Dump(ctx, r.conn, criu.DumpOptions{
		Images: r.images, LogFile: logFile, LogLevel: dumpLogLevel, PID: firstPID, LeaveRunning: true, ScanPaths: scanPaths(k.p.pid),
	}, criu.Hooks{PostDump: func() error {
		k.readClocks()
		return k.saveFiles(ctx, memory)
	}})
	return r.explain("checkpoint processes", err)
}

// scanPaths are the directories below which CRIU looks for files that are watched (inotify): those in the root, as it cannot
// begin at the root itself, but for the kernel's.
func scanPaths(pid int) (paths []string) {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid)) // without them CRIU looks in /etc and some more
	for _, e := range entries {
		if e.IsDir() && e.Name() != "proc" && e.Name() != "sys" {
			paths = append(paths, "/"+e.Name())
		}
	}
	return paths
}

// dumpLogLevel has CRIU log errors and warnings, restoreLogLevel errors alone: it restores the quicker for it.
const (
	dumpLogLevel    = 2
	restoreLogLevel = 1
)

// inspect looks for what CRIU cannot dump, and notes what a clone needs to know.
func (k *checkpointing) inspect() error {
	root, tree, err := treeOf(k.p.pid)
	if err != nil {
		return err
	}
	report, err := criu.Inspect("/proc", root, tree, k.c.filters())
	if err != nil {
		return checkpointError("%v", err)
	}
	if len(report.Problems) > 0 {
		p := report.Problems[0]
		return checkpointError("%v", p).WithRemedy("%s", p.Remedy)
	}
	k.tree.Streams, k.tree.LastPID, k.mine.Processes = report.Streams, report.MaxPID, report.Processes
	return k.noteListeners()
}

// filters is how many seccomp filters the container's processes have from us.
func (c *container) filters() int {
	n := 0
	for _, f := range [][]byte{c.plan.notify, c.plan.filter} {
		if len(f) > 0 {
			n++
		}
	}
	return n
}

// treeOf lists the processes of a container that are to be checkpointed, by their numbers here: the program, what it has
// started, and what has lost its parent. What was executed in the container from outside is not among them.
func treeOf(first int) (root int, tree []int, err error) {
	pids, err := processesBelow(first)
	if err != nil {
		return 0, nil, err
	}
	parents := map[int]int{}
	for _, pid := range pids {
		status, ok := readStatus(pid)
		if !ok {
			continue // it has ended
		}
		parents[pid] = status.parent
		if status.inner == firstPID {
			root = pid
		}
	}
	for pid := range parents {
		if pid != first && (descends(pid, first, parents) || descends(pid, root, parents)) {
			tree = append(tree, pid)
		}
	}
	if root == 0 {
		return 0, nil, checkpointError("the program's process is gone")
	}
	slices.Sort(tree)
	return root, tree, nil
}

// descends tells whether a process comes from another one.
func descends(pid, from int, parents map[int]int) bool {
	for range len(parents) {
		if pid == from {
			return true
		}
		pid = parents[pid]
	}
	return false
}

func (k *checkpointing) noteListeners() error {
	list, err := k.c.listening(context.Background(), sandbox.ListeningRequest{})
	if err == nil {
		k.mine.Listening = list.([]sandbox.Listener)
	}
	return err
}

// readClocks notes what the processes' clocks show.
func (k *checkpointing) readClocks() {
	k.tree.Clock, k.tree.BootClock = now(unix.CLOCK_MONOTONIC), now(unix.CLOCK_BOOTTIME)
	if o := k.c.clock; o != nil {
		k.tree.Clock += o.monotonic
		k.tree.BootClock += o.boot
	}
}

func now(clock int32) int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(clock, &t) // never fails for these
	return t.Nano()
}

// clockOffset is what a container's clocks differ in from the machine's, in nanoseconds.
type clockOffset struct{ monotonic, boot int64 }

// continuing is the offset with which clocks go on where they were stopped.
func (t *frozenTree) continuing() *clockOffset {
	return &clockOffset{monotonic: t.Clock - now(unix.CLOCK_MONOTONIC), boot: t.BootClock - now(unix.CLOCK_BOOTTIME)}
}
