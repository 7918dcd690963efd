package keeper

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processesBelow lists the processes of the pid namespace whose first process is pid, by their numbers in the keeper's.
// Those executed in it later and those of namespaces below it are included.
func processesBelow(pid int) ([]int, error) {
	namespace, err := pidNamespace(pid)
	if err != nil {
		return nil, err
	}
	keepers, err := pidNamespace(os.Getpid())
	if err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	below := map[string]bool{keepers: false, namespace: true}
	var list []int
	for _, d := range dirs {
		n, err := strconv.Atoi(d.Name())
		if err == nil && isBelow(n, below) {
			list = append(list, n)
		}
	}
	return list, nil
}

// isBelow tells whether a process is in a pid namespace of which known says so, or in one below such a namespace, which
// it adds.
func isBelow(pid int, known map[string]bool) bool {
	path := fmt.Sprintf("/proc/%d/ns/pid", pid)
	name, err := os.Readlink(path)
	if err != nil {
		return false // gone meanwhile
	}
	answer, ok := known[name]
	if !ok {
		answer = hasAncestor(path, known)
		known[name] = answer
	}
	return answer
}

// hasAncestor goes up from a pid namespace to the first that is known (ioctl_ns(2)).
func hasAncestor(path string, known map[string]bool) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	for {
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		_ = unix.Close(fd)
		if err != nil {
			return false
		}
		fd = parent
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if answer, ok := known[name]; ok || err != nil {
			_ = unix.Close(fd)
			return answer
		}
	}
}

// activity is what a process does.
type activity int

// The activities, from most to least.
const (
	isRunning activity = iota
	isBlocked          // in a system call that no signal interrupts
	isStopped          // or gone
)

// activityOf returns that of a process's most active thread.
func activityOf(pid int) activity {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return isStopped // gone meanwhile
	}
	most := isStopped
	for _, t := range threads {
		text, err := os.ReadFile(dir + "/" + t.Name() + "/stat")
		i := strings.LastIndexByte(string(text), ')')
		if err != nil || len(text) < i+3 {
			continue // gone meanwhile
		}
		most = min(most, activityIn(text[i+2]))
	}
	return most
}

// activityIn translates a state of proc_pid_stat(5).
func activityIn(state byte) activity {
	switch state {
	case 'T', 't', 'Z', 'X':
		return isStopped
	case 'D':
		return isBlocked
	default:
		return isRunning
	}
}

// descendants lists the children of a process and their children, each after its parent. It does not look at all processes
// of the keeper, which may be thousands (/proc/PID/task/TID/children, Linux 4.2 with CONFIG_PROC_CHILDREN, which CRIU needs).
func descendants(pid int) ([]int, error) {
	var list []int
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, fmt.Errorf("list the threads of process %d: %w", pid, err)
	}
	for _, t := range threads {
		text, err := readProc(pid, "task/"+t.Name()+"/children")
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("list the children of process %d: %w", pid, err)
			}
			below, err := descendants(child)
			if err != nil {
				return nil, err
			}
			list = append(append(list, child), below...)
		}
	}
	return list, nil
}
