package bridge

import (
	"bytes"
	"strconv"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// maxStatus holds a process in 65536 groups.
const maxStatus = 1 << 20

// openStatus hides the keeper's filters.
func (c *call) openStatus(p process) notify.Answer {
	if c.options.Filters == 0 {
		return notify.AsAsked()
	}
	b, err := p.read("status", maxStatus)
	if err != nil {
		return notify.AsAsked()
	}
	has := filtersIn(b)
	if has != c.options.Filters {
		if has != 0 {
			c.options.Log("process %s has %d seccomp filters, %d of them from its keeper", p.number(), has, c.options.Filters)
		}
		return notify.AsAsked()
	}
	fd, err := memoryFile("status")
	if err != nil {
		c.options.Log("hide the seccomp filters of process %s: %v", p.number(), err)
		return notify.AsAsked()
	}
	if err := writeAll(fd, withoutFilters(b), 0); err != nil {
		closeFD(fd)
		c.options.Log("hide the seccomp filters of process %s: %v", p.number(), err)
		return notify.AsAsked()
	}
	return c.file(fd)
}

// Lines of /proc/PID/status: the mode (2 is filters), and their number (Linux 5.9).
var (
	seccompMode    = []byte("Seccomp:\t")
	seccompFilters = []byte("Seccomp_filters:\t")
)

// filtersIn is how many filters a process has; 0 where there is another kind of seccomp or their number is not known.
func filtersIn(status []byte) int {
	filtered, n := false, 0
	for line := range bytes.Lines(status) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if mode, ok := bytes.CutPrefix(line, seccompMode); ok {
			filtered = string(mode) == "2"
		}
		if number, ok := bytes.CutPrefix(line, seccompFilters); ok {
			n, _ = strconv.Atoi(string(number))
		}
	}
	if !filtered {
		return 0
	}
	return n
}

// withoutFilters is the same for a process without any.
func withoutFilters(status []byte) []byte {
	var out []byte
	for line := range bytes.Lines(status) {
		for _, field := range [][]byte{seccompMode, seccompFilters} {
			if bytes.HasPrefix(line, field) {
				line = append(bytes.Clone(field), "0\n"...)
			}
		}
		out = append(out, line...)
	}
	return out
}
