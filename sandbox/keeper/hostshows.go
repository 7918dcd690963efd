package keeper

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
)

// HostFiles knows which of the machine's files a container over host: sees, as far as the kinds of file systems decide
// that. It is about what was mounted at one time. The zero value has no mounts.
type HostFiles struct{ mounts []*mountinfo.Info }

// ListHostFiles looks at what is mounted.
func ListHostFiles() (*HostFiles, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the machine's mounts: %w", err)
	}
	return ParseHostFiles(bytes.NewReader(text))
}

// ParseHostFiles takes a list in the format of /proc/PID/mountinfo, proc_pid_mountinfo(5).
func ParseHostFiles(r io.Reader) (*HostFiles, error) {
	list, err := mountinfo.GetMountsFromReader(r, nil)
	if err != nil {
		return nil, fmt.Errorf("read the machine's mounts: %w", err)
	}
	return &HostFiles{list}, nil
}

// Shows tells whether the container sees what is in a directory of the machine, which may be missing.
func (h *HostFiles) Shows(dir string) bool {
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	dir = filepath.Clean(dir)
	if slices.ContainsFunc(ownDirectories, func(own string) bool { return within(dir, own) }) {
		return false
	}
	shown, longest := true, ""
	for _, m := range h.mounts {
		if m.Mountpoint != "/" && within(dir, m.Mountpoint) && len(m.Mountpoint) >= len(longest) {
			shown, longest = slices.Contains(shownTypes, m.FSType), m.Mountpoint
		}
	}
	return shown
}

// MountBelow returns a place where something is mounted, at or below a path without symlinks; "" if there is none.
func (h *HostFiles) MountBelow(path string) string {
	for _, m := range h.mounts {
		if within(m.Mountpoint, path) {
			return m.Mountpoint
		}
	}
	return ""
}

// ShownByHost tells of a directory what [HostFiles.Shows] does, at present.
func ShownByHost(dir string) (bool, error) {
	h, err := ListHostFiles()
	if err != nil {
		return false, err
	}
	return h.Shows(dir), nil
}
