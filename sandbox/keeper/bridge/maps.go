package bridge

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// addresses are a range of a process's memory; its text is the name of a link in map_files.
type addresses struct{ start, end uint64 }

func (a addresses) String() string { return fmt.Sprintf("%x-%x", a.start, a.end) }

// cutRange reads the addresses in a path that begins with a prefix and ends with them.
func cutRange(path, prefix string) (addresses, bool) {
	text, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return addresses{}, false
	}
	a, err := parseRange(text)
	return a, err == nil && a.String() == text
}

func parseRange(s string) (addresses, error) {
	first, last, _ := strings.Cut(s, "-")
	start, err := strconv.ParseUint(first, 16, 64)
	if err != nil {
		return addresses{}, err
	}
	end, err := strconv.ParseUint(last, 16, 64)
	return addresses{start, end}, err
}

// mapping is a line of /proc/PID/maps.
type mapping struct {
	addresses
	shared bool
	offset uint64 // in the file
	device uint64 // as in struct stat
	inode  uint64
	name   string
}

// sameFile tells whether both show one file, or one object of shared memory.
func (m mapping) sameFile(o mapping) bool { return m.device == o.device && m.inode == o.inode }

// in is where in the file the mapping is.
func (m mapping) in() extent { return extent{m.offset, m.offset + m.end - m.start} }

// eachMapping calls f for every line, until it returns false.
//
// Errors: lines of another form than proc_pid_maps(5) has.
func eachMapping(r io.Reader, f func(mapping) bool) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return fmt.Errorf("read mapping %.80q: %w", lines.Text(), err)
		}
		if !f(m) {
			return nil
		}
	}
	return lines.Err()
}

// mappingFields are those before the name: addresses, permissions, offset, device, inode.
const mappingFields = 5

func parseMapping(line string) (m mapping, err error) {
	var f [mappingFields]string
	rest := line
	for i := range f {
		f[i], rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	}
	m.name, m.shared = strings.TrimLeft(rest, " "), strings.HasSuffix(f[1], "s")
	if m.addresses, err = parseRange(f[0]); err != nil {
		return m, err
	}
	if m.offset, err = strconv.ParseUint(f[2], 16, 64); err != nil {
		return m, err
	}
	if m.device, err = parseDevice(f[3]); err != nil {
		return m, err
	}
	m.inode, err = strconv.ParseUint(f[4], 10, 64)
	return m, err
}

func parseDevice(s string) (uint64, error) {
	major, minor, _ := strings.Cut(s, ":")
	a, err := strconv.ParseUint(major, 16, 32)
	if err != nil {
		return 0, err
	}
	b, err := strconv.ParseUint(minor, 16, 32)
	return unix.Mkdev(uint32(a), uint32(b)), err
}

// mapping finds the one with exactly these addresses.
func (p process) mapping(r addresses) (found mapping, ok bool) {
	err := p.eachMapping(func(m mapping) bool {
		if m.addresses == r {
			found, ok = m, true
		}
		return m.start < r.start
	})
	return found, ok && err == nil
}

func (p process) eachMapping(f func(mapping) bool) error {
	maps, err := p.open("maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	return eachMapping(maps, f)
}
