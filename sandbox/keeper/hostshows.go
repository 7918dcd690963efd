package keeper

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
)

// ShownByHost tells whether a container over host: sees what is in a directory of the machine, as far as the kinds of
// file systems decide that. The directory may be missing.
func ShownByHost(dir string) (bool, error) {
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	dir = filepath.Clean(dir)
	if slices.ContainsFunc(ownDirectories, func(own string) bool { return within(dir, own) }) {
		return false, nil
	}
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("list the machine's mounts: %w", err)
	}
	shown, longest := true, ""
	for _, m := range list {
		if m.Mountpoint != "/" && within(dir, m.Mountpoint) && len(m.Mountpoint) >= len(longest) {
			shown, longest = slices.Contains(shownTypes, m.FSType), m.Mountpoint
		}
	}
	return shown, nil
}
