package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// action is what a program returns for a call: SECCOMP_RET_* with its data in the lower 16 bits.
type action uint32

const (
	actionKill   = action(unix.SECCOMP_RET_KILL_THREAD)
	actionNoSys  = action(unix.SECCOMP_RET_ERRNO) | action(unix.ENOSYS)
	actionMask   = action(unix.SECCOMP_RET_ACTION_FULL)
	maxErrno     = 4095   // MAX_ERRNO: the kernel cuts larger ones
	maxTraceData = 0xffff // SECCOMP_RET_DATA
)

// parseAction reads an action and the number that goes with it, which nil sets to EPERM. As the OCI runtime
// specification demands, a number for an action that takes none is an error.
func parseAction(name specs.LinuxSeccompAction, number *uint) (action, error) {
	switch name {
	case specs.ActErrno:
		return withData(unix.SECCOMP_RET_ERRNO, number, maxErrno)
	case specs.ActTrace:
		return withData(unix.SECCOMP_RET_TRACE, number, maxTraceData)
	case specs.ActNotify:
		return 0, &UnsupportedError{
			Feature: "the action SCMP_ACT_NOTIFY", Remedy: "use SCMP_ACT_ERRNO, or a runtime with a seccomp agent",
		}
	}
	plain, ok := plainAction(name)
	if !ok {
		return 0, fmt.Errorf("%q is not an action (SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, ...)", name)
	}
	if number != nil {
		return 0, fmt.Errorf("action %s takes no errno, yet %d is set: remove it", name, *number)
	}
	return plain, nil
}

func withData(ret action, number *uint, limit uint) (action, error) {
	if number == nil {
		return ret | action(unix.EPERM), nil
	}
	if *number > limit {
		return 0, fmt.Errorf("errno %d is too large: the kernel takes at most %d", *number, limit)
	}
	return ret | action(*number), nil
}

func plainAction(name specs.LinuxSeccompAction) (action, bool) {
	switch name {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, true
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, true
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, true
	case specs.ActKill, specs.ActKillThread:
		return actionKill, true
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, true
	}
	return 0, false
}

// permissive says whether the call may happen.
func (a action) permissive() bool {
	kind := a & actionMask
	return kind == unix.SECCOMP_RET_ALLOW || kind == unix.SECCOMP_RET_LOG || kind == unix.SECCOMP_RET_TRACE
}

// stricter compares as the kernel does between several filters, where the lowest signed value wins.
func (a action) stricter(other action) bool {
	return int32(a&actionMask) < int32(other&actionMask)
}
