package userns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// The two programs of Debian's package uidmap (shadow elsewhere) that may map more than the caller's own id.
var helpers = []string{"newuidmap", "newgidmap"}

// checkHelpers tells why the helpers cannot map ids for this process, as an [Unsupported]; nil if nothing speaks against it.
func checkHelpers() error {
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && on == 1 {
		return &Unsupported{Feature: "newuidmap", Err: errors.New("no_new_privs is set for this process, so no program can gain rights"),
			Remedy: "start it without no-new-privileges (Kubernetes: allowPrivilegeEscalation: true)"}
	}
	for _, name := range helpers {
		if err := checkHelper(name); err != nil {
			return err
		}
	}
	return nil
}

func checkHelper(name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return &Unsupported{Feature: name, Err: err, Remedy: "sudo apt-get install uidmap (elsewhere: shadow-utils, shadow)"}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return &Unsupported{Feature: name, Err: fmt.Errorf("%s is on a file system mounted with nosuid", path),
			Remedy: "sudo mount -o remount,suid the file system of " + path}
	}
	if !privileged(path) {
		return &Unsupported{Feature: name, Err: fmt.Errorf("%s has neither the setuid bit nor file capabilities", path),
			Remedy: "sudo chmod u+s " + path}
	}
	return nil
}

// privileged tells whether executing the file gives more rights than its caller has.
func privileged(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	size, err := unix.Getxattr(path, "security.capability", nil)
	return info.Mode()&os.ModeSetuid != 0 || err == nil && size > 0
}
