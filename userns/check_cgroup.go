package userns

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

var cgroupCheck = Check{Name: "cgroup delegation",
	Means: "limits of memory, processors and processes are enforced; without it asking for one is an error"}

// The controllers behind the limits that a container can have.
var wantedControllers = []string{"cpu", "memory", "pids"}

const (
	unifyRemedy    = "boot with cgroup v2 alone: add systemd.unified_cgroup_hierarchy=1 to the kernel's command line"
	scopeRemedy    = "start it in a cgroup of your own: systemd-run --user --scope bivouac ..."
	delegateRemedy = `printf '[Service]\nDelegate=cpu memory pids\n' | ` +
		"sudo install -D /dev/stdin /etc/systemd/system/user@.service.d/delegate.conf, and start the machine again"
)

// probeCgroup looks for the nearest cgroup above the own one in which the user may make cgroups: one with processes in it
// cannot hand controllers down (cgroups(7), "no internal processes").
func probeCgroup() verdict {
	root, own, err := findCgroup()
	if err != nil {
		return no(err, unifyRemedy)
	}
	if lack := lackingControllers(root); len(lack) > 0 {
		return no(fmt.Errorf("cgroup v2 has no controller %s here", strings.Join(lack, ", ")), unifyRemedy)
	}
	found := no(fmt.Errorf("no cgroup above %s is yours to change", own), scopeRemedy)
	for dir := filepath.Dir(filepath.Join(root, own)); strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
		if tryCgroup(dir) != nil {
			continue
		}
		lack := lackingControllers(dir)
		if len(lack) == 0 {
			return yes("%s are delegated to you in %s", strings.Join(wantedControllers, ", "), dir)
		}
		found = no(fmt.Errorf("%s is delegated to you without %s", dir, strings.Join(lack, ", ")), delegateRemedy)
	}
	return found
}

// tryCgroup makes a cgroup and removes it.
func tryCgroup(dir string) error {
	for _, name := range []string{"cgroup.procs", "cgroup.subtree_control"} {
		if err := unix.Access(filepath.Join(dir, name), unix.W_OK); err != nil {
			return err
		}
	}
	if err := checkEmpty(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("bivouac-probe-%d", os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Remove(path)
}

// checkEmpty refuses a cgroup with processes of its own: it cannot hand controllers down (cgroups(7)). The root can.
func checkEmpty(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err == nil && len(text) > 0 {
		err = fmt.Errorf("%s has processes of its own", dir)
	}
	return err
}

func lackingControllers(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return wantedControllers
	}
	have := strings.Fields(string(text))
	return slices.DeleteFunc(slices.Clone(wantedControllers), func(n string) bool { return slices.Contains(have, n) })
}

// findCgroup returns where cgroup v2 is mounted and the caller's cgroup below that.
func findCgroup() (root, own string, err error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return "", "", fmt.Errorf("find cgroup v2: %w", err)
	}
	if len(mounts) == 0 {
		return "", "", errors.New("cgroup v2 is not mounted")
	}
	own, err = OwnCgroup()
	return mounts[0].Mountpoint, own, err
}

// OwnCgroup returns the caller's cgroup of version 2, as a path from the root of its cgroup namespace.
//
// Errors: an unreadable /proc; a machine without cgroup v2.
func OwnCgroup() (string, error) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find own cgroup: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("find own cgroup: the kernel shows none of version 2")
}
