package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// flagTsync is accepted in profiles though the OCI runtime specification has no constant for it.
const flagTsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// Flags returns the flags argument of seccomp(2) with which to install the profile's program. A profile without a list
// of flags gets SECCOMP_FILTER_FLAG_SPEC_ALLOW (Linux 4.17), as from runc; one with an empty list gets none.
//
// With SECCOMP_FILTER_FLAG_TSYNC, seccomp(2) may return the id of a thread that could not follow, which is a failure.
//
// Errors: an unknown flag; an [*UnsupportedError] for flags of user notification.
func Flags(p *specs.LinuxSeccomp) (uint, error) {
	if p.Flags == nil {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	var flags uint
	for _, name := range p.Flags {
		flag, err := parseFlag(name)
		if err != nil {
			return 0, fmt.Errorf("read seccomp profile: flags: %w", err)
		}
		flags |= flag
	}
	return flags, nil
}

func parseFlag(name specs.LinuxSeccompFlag) (uint, error) {
	switch name {
	case flagTsync:
		return unix.SECCOMP_FILTER_FLAG_TSYNC, nil
	case specs.LinuxSeccompFlagLog:
		return unix.SECCOMP_FILTER_FLAG_LOG, nil
	case specs.LinuxSeccompFlagSpecAllow:
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	case specs.LinuxSeccompFlagWaitKillableRecv:
		return 0, &UnsupportedError{Feature: "the flag " + string(name), Remedy: "remove it: it only matters to SCMP_ACT_NOTIFY"}
	}
	return 0, fmt.Errorf("%q is not a flag (SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, %s)", name, flagTsync)
}
