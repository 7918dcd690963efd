package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// traces are what a keeper has left, or may have.
type traces []trace

// A trace is one of them.
type trace struct {
	what  string
	count int64
	// varies tells that there may be more of it without a leak.
	varies bool
	names  []string // of what is counted, as far as that is of interest
}

// traces looks at a keeper without containers and snapshots once what has just ended is gone.
func (c *client) traces() (traces, error) {
	time.Sleep(calm)
	c.lab.residents.settle()
	running := processes() // before this starts others
	mounts, err := c.mounts()
	if err != nil {
		return nil, err
	}
	files, err := c.descriptors()
	if err != nil {
		return nil, err
	}
	stored, bytes, err := c.lab.stored()
	if err != nil {
		return nil, err
	}
	files, spare := splitPipes(files)
	var w watcher
	return traces{
		{what: "processes", count: int64(len(running)), names: running},
		{what: "mounts of the keeper", count: int64(len(mounts))},
		{what: "descriptors of the keeper", count: int64(len(files)), names: files},
		{what: "network namespaces", count: namespaces(files)},
		{what: "bytes in memory file systems of the keeper", count: c.inMemory(mounts)},
		{what: "inodes in them", count: c.inodes(mounts)},
		{what: "files in the store", count: stored},
		{what: "bytes in the store", count: bytes},
		{what: "pipes of which the keeper has both ends", count: int64(spare), varies: true},
		{what: "threads of the keeper", count: int64(len(entries(c.proc("task")))), varies: true},
		{what: "memory of the keeper (PSS), bytes", count: w.memoryOf(c.keeper()), varies: true},
	}, nil
}

// leaks says what there is more of after.
func (t traces) leaks(after traces) (all []string) {
	for i, before := range t {
		if more := after[i].count - before.count; more > 0 && !before.varies {
			all = append(all, fmt.Sprintf("%d %s%s", more, before.what, added(before.names, after[i].names)))
		}
	}
	return all
}

// added lists, in brackets, what is not in before.
func added(before, after []string) string {
	before = slices.Clone(before)
	var more []string
	for _, name := range after {
		if i := slices.Index(before, name); i >= 0 {
			before = slices.Delete(before, i, i+1)
		} else {
			more = append(more, name)
		}
	}
	if len(more) == 0 {
		return ""
	}
	return " (" + strings.Join(more, ", ") + ")"
}

func (t traces) print(out io.Writer, after traces) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "before\tafter\tmore\t")
	for i, before := range t {
		fmt.Fprintf(table, "%d\t%d\t%+d\t  %s\n", before.count, after[i].count, after[i].count-before.count, before.what)
	}
	_ = table.Flush() // for people
}

// proc is a path in the keeper's directory of /proc.
func (c *client) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", c.keeper(), name) }

func (c *client) mounts() ([]*mountinfo.Info, error) {
	f, err := os.Open(c.proc("mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// descriptors are what the keeper has open.
func (c *client) descriptors() (files []string, err error) {
	list, err := os.ReadDir(c.proc("fd"))
	if err != nil {
		return nil, err
	}
	for _, entry := range list {
		file, err := os.Readlink(filepath.Join(c.proc("fd"), entry.Name()))
		if err == nil { // otherwise it was closed
			files = append(files, file)
		}
	}
	return files, nil
}

// splitPipes takes the pipes out of which both ends are there, and counts them: Go's runtime keeps some for splice(2).
func splitPipes(files []string) (others []string, pipes int) {
	ends := map[string]int{}
	for _, file := range files {
		ends[file]++
	}
	for _, file := range files {
		if !strings.HasPrefix(file, "pipe:") || ends[file] != 2 {
			others = append(others, file)
		}
	}
	return others, (len(files) - len(others)) / 2
}

// processes names those below this one.
func processes() (names []string) {
	for _, pid := range descendants() {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil { // otherwise it has ended
			_, name, _ := strings.Cut(string(status), " ")
			names = append(names, strings.Join(strings.Fields(name)[:2], " "))
		}
	}
	return names
}

// namespaces counts the network namespaces that processes below this one are in or that descriptors hold.
func namespaces(files []string) int64 {
	seen := map[string]bool{}
	for _, pid := range descendants() {
		if name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil { // otherwise it has ended
			seen[name] = true
		}
	}
	for _, file := range files {
		if strings.HasPrefix(file, "net:[") {
			seen[file] = true
		}
	}
	return int64(len(seen))
}

// inMemory is what the keeper's memory file systems hold.
func (c *client) inMemory(mounts []*mountinfo.Info) int64 {
	return c.sum(mounts, func(s *unix.Statfs_t) int64 { return int64(s.Blocks-s.Bfree) * s.Bsize })
}

func (c *client) inodes(mounts []*mountinfo.Info) int64 {
	return c.sum(mounts, func(s *unix.Statfs_t) int64 { return int64(s.Files - s.Ffree) })
}

// sum adds something up over those memory file systems that are the keeper's own.
func (c *client) sum(mounts []*mountinfo.Info, of func(*unix.Statfs_t) int64) (total int64) {
	shared := hostMounts()
	for _, m := range mounts {
		var s unix.Statfs_t
		device := [2]int{m.Major, m.Minor}
		if m.FSType != "tmpfs" || shared[device] || unix.Statfs(filepath.Join(c.proc("root"), m.Mountpoint), &s) != nil {
			continue
		}
		shared[device] = true // each once
		total += of(&s)
	}
	return total
}

// hostMounts are the devices that this process sees too.
func hostMounts() map[[2]int]bool {
	devices := map[[2]int]bool{}
	mounts, _ := mountinfo.GetMounts(nil) // without them there is more in the sum
	for _, m := range mounts {
		devices[[2]int{m.Major, m.Minor}] = true
	}
	return devices
}

func entries(dir string) []os.DirEntry {
	list, _ := os.ReadDir(dir) // it is there
	return list
}

// stored returns how many files the store has, and how many bytes are in them. Only who has the users' ids may look
// everywhere: see remove.
func (l *lab) stored() (files, bytes int64, err error) {
	text, err := l.output(l.bivouac(l.removersStore(), "run", "-v", l.kitStore()+":/mnt", "host:", "find", "/mnt", "-xdev", "!", "-type", "d", "-printf", "%s\n"))
	for line := range strings.Lines(text) {
		files++
		bytes += number(strings.TrimSpace(line))
	}
	return files, bytes, err
}
