package keeper

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The few files of /proc that tell of a container's processes are read here: a library that knows all of them compiles so
// many patterns when the program starts that each start of a container takes 0.4 ms longer.

func readProc(pid int, name string) ([]byte, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, fmt.Errorf("read process %d: %w", pid, err)
	}
	return text, nil
}

// procFields reads a file of lines such as "Name: value", without the white space around the value.
func procFields(pid int, name string) (map[string]string, error) {
	text, err := readProc(pid, name)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if field, value, ok := strings.Cut(line, ":"); ok {
			fields[strings.TrimSpace(field)] = strings.TrimSpace(value)
		}
	}
	return fields, nil
}

// number is the first number of a value, 0 if there is none.
func number(value string) int64 {
	first, _, _ := strings.Cut(value, " ")
	n, _ := strconv.ParseInt(first, 10, 64)
	return n
}

// procStat is what /proc/PID/stat tells (proc_pid_stat(5)); times are in ticks, rss is in pages.
type procStat struct {
	comm, state                        string
	parent, threads                    int
	user, system, childUser, childSyst int64
	started, rss, size                 int64 // size is in bytes
	terminal                           uint64
}

func readStat(pid int) (*procStat, error) {
	text, err := readProc(pid, "stat")
	if err != nil {
		return nil, err
	}
	// The name is in parentheses, and may have some itself.
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if begin < 0 || len(fields) < 22 {
		return nil, fmt.Errorf("read process %d: %q is no status", pid, text)
	}
	at := func(field int) int64 { return number(fields[field-3]) } // the manual's numbers; the third is the first here
	return &procStat{
		comm: string(text[begin+1 : end]), state: fields[0], parent: int(at(4)), threads: int(at(20)),
		user: at(14), system: at(15), childUser: at(16), childSyst: at(17), started: at(22), rss: at(24),
		size: at(23), terminal: uint64(at(7)),
	}, nil
}

// terminalName is that of a device below /dev; empty for none, and for what containers do not have.
func terminalName(device uint64) string {
	const firstPTY, lastPTY = 136, 143 // devices.rst: Unix98 PTY slaves
	switch major := unix.Major(device); {
	case device == 0:
		return ""
	case major >= firstPTY && major <= lastPTY:
		return fmt.Sprintf("pts/%d", (major-firstPTY)<<8|unix.Minor(device))
	default:
		return ""
	}
}

// readTraffic sums what the interfaces of a process's network namespace have received and sent, in bytes.
func readTraffic(pid int) (received, sent int64, err error) {
	interfaces, err := procFields(pid, "net/dev")
	if err != nil {
		return 0, 0, err
	}
	for _, counters := range interfaces {
		if f := strings.Fields(counters); len(f) > 8 {
			received += number(f[0])
			sent += number(f[8])
		}
	}
	return received, sent, nil
}
