package criu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Resource is a kind of thing that CRIU cannot dump, or not without more.
type Resource string

// The resources.
const (
	ResourceIOURing         Resource = "io_uring"
	ResourceUserfaultfd     Resource = "userfaultfd"
	ResourceMessageQueue    Resource = "POSIX message queue"
	ResourceMPTCP           Resource = "MPTCP socket"
	ResourcePIDNamespace    Resource = "nested pid namespace"
	ResourceUserNamespace   Resource = "nested user namespace"
	ResourceOtherNamespace  Resource = "nested namespace"
	ResourceMemfdProgram    Resource = "program executed from memory"
	ResourceDeletedMapping  Resource = "mapped file that was removed"
	ResourceTraced          Resource = "process under ptrace"
	ResourceSeccomp         Resource = "seccomp filter of the program's own"
	ResourceOutsideFile     Resource = "file opened outside of the container"
	ResourceOutsideTerminal Resource = "terminal of the world outside"
	ResourceOrphan          Resource = "process outside of the tree"
	ResourceConnection      Resource = "established connection"
	ResourceSocket          Resource = "socket"
	ResourceIDs             Resource = "user or group"
	ResourceFileLock        Resource = "file lock"
	ResourceGhostFile       Resource = "removed file that is open"
	ResourceWatch           Resource = "inotify or fanotify watch"
	ResourceShared          Resource = "System V shared memory"
	ResourceDevice          Resource = "device"
	ResourceFile            Resource = "file"
	ResourcePID             Resource = "process id"
	ResourceMemory          Resource = "memory"
	ResourceDisk            Resource = "disk space"
	ResourceImages          Resource = "images"
	ResourceKernel          Resource = "kernel"
	ResourceCRIU            Resource = "CRIU"
)

// Problem is something because of which a dump will fail, or a restore would not bring back what was.
type Problem struct {
	PID      int    // in the container, 0 if it is not one process's
	Command  string // the process's, up to 15 bytes
	Resource Resource
	Detail   string // what exactly, may be empty
	Remedy   string // what mends it, may be empty
}

func (p Problem) String() string {
	text := string(p.Resource)
	if p.Detail != "" {
		text += " (" + p.Detail + ")"
	}
	if p.PID != 0 {
		text = fmt.Sprintf("process %d (%s): %s", p.PID, p.Command, text)
	}
	return text
}

// Report is what [Inspect] found.
type Report struct {
	Problems []Problem
	// Streams are what the root process's descriptors 0 to 2 are, in the notation of /proc/PID/fd and [Inherited]: "pipe:[4711]",
	// "/dev/null"; empty for a closed one.
	Streams [3]string
	// Processes and Threads count what was looked at. MaxPID is the highest process or thread id in the container.
	Processes, Threads, MaxPID int
}

// Inspect looks in the /proc at procfs at processes that are to be dumped, by their pids there, the root of the tree among
// them. Problems are what the container's init is told about as long as the program runs: what a dump would fail on, or
// would lose, as far as it can be told from outside in some milliseconds. Each thread is to have no more than as many
// seccomp filters as given: those that the container was started with.
//
// Processes that end meanwhile are left out.
//
// Errors: the root process is not there.
func Inspect(procfs string, root int, pids []int, filters int) (*Report, error) {
	in := &inspection{procfs: procfs, root: root, filters: filters, parents: map[int]int{}, masters: map[string]bool{}}
	if err := in.lookAtRoot(); err != nil {
		return nil, fmt.Errorf("inspect processes: %w", err)
	}
	var tasks []*task
	for _, pid := range pids {
		t, err := openTask(procfs, pid)
		if err != nil {
			continue // it has ended
		}
		defer t.Close()
		tasks = append(tasks, t)
		in.parents[pid] = t.parent
		in.listFiles(t)
	}
	for _, t := range tasks {
		in.report.Processes++
		in.checkThreads(t)
		in.checkNamespaces(t)
		in.checkProgram(t)
		in.checkFiles(t)
		in.checkMappings(t)
	}
	return &in.report, nil
}

// inspection is the work of one Inspect.
type inspection struct {
	procfs        string
	root, filters int
	report        Report

	depth      int               // of the container's pid namespace below that of the /proc
	namespaces map[string]string // the root process's, by name
	mounts     map[uint64]string // types of file systems, by mount id, in the root process's mount namespace
	parents    map[int]int
	masters    map[string]bool // numbers of the terminals whose masters the processes have open
}

func (in *inspection) lookAtRoot() error {
	t, err := openTask(in.procfs, in.root)
	if err != nil {
		return err
	}
	defer t.Close()
	in.namespaces, in.depth = t.namespaces(), len(strings.Fields(t.numbers))-1
	mountinfo, err := t.read("mountinfo")
	if err != nil {
		return err
	}
	in.mounts = parseMounts(mountinfo)
	for fd := range in.report.Streams {
		in.report.Streams[fd] = t.link("fd/" + strconv.Itoa(fd))
	}
	return nil
}

func (in *inspection) add(t *task, resource Resource, detail, remedy string) {
	p := Problem{PID: at(t.numbers, in.depth), Command: t.command, Resource: resource, Detail: detail, Remedy: remedy}
	if !slices.Contains(in.report.Problems, p) {
		in.report.Problems = append(in.report.Problems, p)
	}
}

// checkThreads looks at what /proc/PID/status tells of each thread, and at the process's place in the tree.
func (in *inspection) checkThreads(t *task) {
	for _, name := range t.names("task") {
		status, err := t.read("task/" + name + "/status")
		if err != nil {
			continue
		}
		in.report.Threads++
		in.report.MaxPID = max(in.report.MaxPID, at(statusField(status, "NSpid"), in.depth))
		if tracer := statusField(status, "TracerPid"); tracer != "0" {
			in.add(t, ResourceTraced, "", "end the debugger or tracer first")
		}
		if n, _ := strconv.Atoi(statusField(status, "Seccomp_filters")); n > in.filters {
			in.add(t, ResourceSeccomp, fmt.Sprintf("%d more than the container's", n-in.filters),
				"run the program without its own sandbox, such as Chromium with --no-sandbox")
		} else if statusField(status, "Seccomp") == "1" {
			in.add(t, ResourceSeccomp, "strict mode", "")
		}
	}
	if !in.inTree(t.pid) {
		in.add(t, ResourceOrphan, "it is no descendant of the container's program", "end it first")
	}
}

func (in *inspection) inTree(pid int) bool {
	for range len(in.parents) + 1 {
		if pid == in.root {
			return true
		}
		parent, ok := in.parents[pid]
		if !ok {
			return false
		}
		pid = parent
	}
	return false
}

func (in *inspection) checkNamespaces(t *task) {
	const remedy = "run the program without a sandbox of its own"
	all := t.namespaces()
	t.foreign = all["mnt"] != in.namespaces["mnt"]
	for name, own := range all {
		switch {
		case own == in.namespaces[name]:
		case name == "pid":
			in.add(t, ResourcePIDNamespace, "", remedy)
		case name == "user":
			in.add(t, ResourceUserNamespace, "", remedy)
		default:
			in.add(t, ResourceOtherNamespace, name, remedy)
		}
	}
}

// checkProgram looks at the file that the process executes.
func (in *inspection) checkProgram(t *task) {
	path := t.link("exe")
	switch {
	case strings.HasPrefix(path, "/memfd:"):
		in.add(t, ResourceMemfdProgram, path, "execute it from a file")
	case strings.HasSuffix(path, deleted):
		in.add(t, ResourceDeletedMapping, "its program "+path, "start the program again after it was replaced")
	case path != "" && !t.foreign && !in.isInside(t.mountOf("exe")):
		in.add(t, ResourceOutsideFile, "its program "+path, "")
	}
}

// isInside tells whether a mount is in the mount namespace. Where its number is not known (Linux before 5.8), it is.
func (in *inspection) isInside(mount uint64, known bool) bool {
	_, ok := in.mounts[mount]
	return ok || !known
}

const deleted = " (deleted)"
