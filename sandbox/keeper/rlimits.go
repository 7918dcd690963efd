package keeper

import (
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

var rlimitNumbers = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE,
	"nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS,
	"rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// resolveRlimits refuses what an ordinary user cannot set, because libcontainer would fail with less to say.
// With a single id package emulate keeps its own value in the limit of locks, which Linux does not enforce.
func resolveRlimits(ulimits []sandbox.Ulimit, single bool) ([]configs.Rlimit, error) {
	var out []configs.Rlimit
	for _, u := range ulimits {
		number, ok := rlimitNumbers[u.Name]
		if number == unix.RLIMIT_LOCKS && single {
			return nil, sandbox.Errorf(sandbox.CodeUnsupported, "set ulimit locks: not possible for a user without subordinate ids").WithRemedy("leave it out: Linux does not enforce it")
		}
		if !ok {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "set ulimit %q: no such limit", u.Name).WithRemedy("use one of %s", strings.Join(rlimitNames(), ", "))
		}
		l := configs.Rlimit{Type: number, Soft: unlimited(u.Soft), Hard: unlimited(u.Hard)}
		if err := checkRlimit(u.Name, l); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func unlimited(v int64) uint64 {
	if v < 0 {
		return math.MaxUint64
	}
	return uint64(v)
}

func checkRlimit(name string, l configs.Rlimit) error {
	if l.Soft > l.Hard {
		return sandbox.Errorf(sandbox.CodeInvalid, "set ulimit %s: the soft limit exceeds the hard limit", name).WithRemedy("give SOFT:HARD with SOFT at most HARD")
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(l.Type, &own); err != nil {
		return sandbox.Errorf(sandbox.CodeInternal, "read ulimit %s: %v", name, err)
	}
	if l.Hard > own.Max {
		return sandbox.Errorf(sandbox.CodeLimits, "set ulimit %s to %d: your own hard limit is %d and only root may raise it", name, l.Hard, own.Max).
			WithRemedy("ask for at most %d, or raise it in /etc/security/limits.conf", own.Max)
	}
	return nil
}

func rlimitNames() []string {
	var names []string
	for n := range rlimitNumbers {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
