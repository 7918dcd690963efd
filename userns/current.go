package userns

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// initialNamespace is the user namespace that the kernel starts with: its inode number is fixed in the kernel's
// proc_ns.h (PROC_USER_INIT_INO) since Linux 3.8.
const initialNamespace = "user:[4026531837]"

// Current returns the mapping of the user namespace that the caller runs in.
//
// Errors: an unreadable /proc.
func Current() (Mapping, error) {
	uids, err := readMap("/proc/self/uid_map")
	if err != nil {
		return Mapping{}, err
	}
	gids, err := readMap("/proc/self/gid_map")
	if err != nil {
		return Mapping{}, err
	}
	return Mapping{UIDs: uids, GIDs: gids}, nil
}

func readMap(path string) ([]IDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read id map: %w", err)
	}
	defer f.Close()
	maps, err := parseMap(f)
	if err != nil {
		return nil, fmt.Errorf("read id map %s: %w", path, err)
	}
	return maps, nil
}

func parseMap(r io.Reader) ([]IDMap, error) {
	var maps []IDMap
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var m IDMap
		if _, err := fmt.Sscan(lines.Text(), &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("parse line %q: %w", lines.Text(), err)
		}
		maps = append(maps, m)
	}
	return maps, lines.Err()
}

// inInitialNamespace tells whether the caller is in no container's user namespace.
func inInitialNamespace() (bool, error) {
	name, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return false, fmt.Errorf("read user namespace: %w", err)
	}
	return name == initialNamespace, nil
}
