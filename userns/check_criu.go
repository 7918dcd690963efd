package userns

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

var criuCheck = Check{Name: "CRIU",
	Means: "running processes can be checkpointed and cloned; without it clones start from a container's files alone"}

const criuRemedy = "install CRIU 4.2 or newer and put it on PATH: https://criu.org/Installation"

// probeCRIU wants 4.2: older ones cannot run without root's rights or fail on the sockets of Linux 6.16 and newer.
func probeCRIU(ctx context.Context) verdict {
	path, err := exec.LookPath("criu")
	if err != nil {
		return no(err, criuRemedy)
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return unknown(fmt.Errorf("ask %s for its version: %w", path, err), criuRemedy)
	}
	return judgeCRIU(path, string(out))
}

// judgeCRIU reads "Version: 4.2" or "Version: 4.2.1", and perhaps more lines.
func judgeCRIU(path, out string) verdict {
	_, version, found := strings.Cut(out, "Version: ")
	version, _, _ = strings.Cut(version, "\n")
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); !found || err != nil {
		return unknown(fmt.Errorf("%s names no version", path), criuRemedy)
	}
	if major < 4 || major == 4 && minor < 2 {
		return no(errors.New(path+" is "+version+", which is older than 4.2"), criuRemedy)
	}
	return yes("%s is %s", path, version)
}
