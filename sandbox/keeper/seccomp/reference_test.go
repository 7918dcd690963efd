package seccomp

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	docker "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// reference answers a call by reading the profile from top to bottom, as the package's documentation says.
func reference(f family, p *specs.LinuxSeccomp, d data) action {
	at := slices.IndexFunc(f, func(a arch) bool { return a.audit == d.audit })
	if at < 0 || (at > 0 && !slices.Contains(p.Architectures, f[at].name)) {
		return unix.SECCOMP_RET_KILL_THREAD
	}
	a := f[at]
	if a.audit == unix.AUDIT_ARCH_X86_64 && d.number >= 0x40000000 {
		return noSys
	}
	byDefault := referenceAction(p.DefaultAction, p.DefaultErrnoRet)
	newest := newestNamed(a, p)
	if newest > 0 && d.number > newest && !isPrivate(a, p, d.number) && !slices.Contains(letting, p.DefaultAction) {
		return noSys
	}
	return firstMatch(referenceRules(a, p, d, byDefault), byDefault)
}

const noSys = action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))

var letting = []specs.LinuxSeccompAction{specs.ActAllow, specs.ActLog, specs.ActTrace}

// outcome is a rule of the reference for one call with its arguments.
type outcome struct {
	action  action
	always  bool
	matches bool
}

func firstMatch(outcomes []outcome, byDefault action) action {
	for _, o := range outcomes {
		if o.always {
			return o.action
		}
	}
	for _, o := range outcomes {
		if o.matches {
			return o.action
		}
	}
	return byDefault
}

func referenceRules(a arch, p *specs.LinuxSeccomp, d data, byDefault action) (outcomes []outcome) {
	for _, call := range p.Syscalls {
		act := referenceAction(call.Action, call.ErrnoRet)
		if act == byDefault {
			continue
		}
		for _, name := range call.Names {
			if number, ok := numberOf(a, name); ok && number == d.number {
				outcomes = append(outcomes, outcome{act, len(call.Args) == 0, holdAll(a, call.Args, d)})
			}
			if !isSubcall(a, name, d) {
				continue
			}
			if len(call.Args) == 0 || int32(act&0xffff0000) < int32(byDefault&0xffff0000) {
				outcomes = append(outcomes, outcome{action: act, matches: true})
			}
		}
	}
	return outcomes
}

func isSubcall(a arch, name string, d data) bool {
	if a.audit != unix.AUDIT_ARCH_I386 || (d.number != 102 && d.number != 117) {
		return false
	}
	for _, s := range subcalls {
		through, mask := uint32(102), uint64(0xffffffff)
		if s.through == "ipc" {
			through, mask = 117, 0xffff
		}
		if s.name == name && through == d.number && d.args[0]&mask == s.number {
			return true
		}
	}
	return false
}

func holdAll(a arch, args []specs.LinuxSeccompArg, d data) bool {
	some, all, repeated := false, true, false
	var count [maxArguments]int
	for _, arg := range args {
		count[arg.Index]++
		held := holds(a, arg, d.args[arg.Index])
		some, all, repeated = some || held, all && held, repeated || count[arg.Index] > 1
	}
	if repeated {
		return some
	}
	return all
}

func holds(a arch, arg specs.LinuxSeccompArg, have uint64) bool {
	want, two := arg.Value, arg.ValueTwo
	if a.narrow {
		have, want, two = have&0xffffffff, want&0xffffffff, two&0xffffffff
	}
	switch arg.Op {
	case specs.OpEqualTo:
		return have == want
	case specs.OpNotEqual:
		return have != want
	case specs.OpLessThan:
		return have < want
	case specs.OpLessEqual:
		return have <= want
	case specs.OpGreaterThan:
		return have > want
	case specs.OpGreaterEqual:
		return have >= want
	case specs.OpMaskedEqual:
		return have&want == two&want
	}
	panic(arg.Op)
}

// referenceActions are the numbers of linux/seccomp.h.
var referenceActions = map[specs.LinuxSeccompAction]action{
	specs.ActAllow:       0x7fff0000,
	specs.ActLog:         0x7ffc0000,
	specs.ActTrace:       0x7ff00000,
	specs.ActErrno:       0x00050000,
	specs.ActTrap:        0x00030000,
	specs.ActKill:        0x00000000,
	specs.ActKillThread:  0x00000000,
	specs.ActKillProcess: 0x80000000,
}

func referenceAction(name specs.LinuxSeccompAction, number *uint) action {
	low := uint32(unix.EPERM)
	if number != nil {
		low = uint32(*number)
	}
	base := referenceActions[name]
	if name == specs.ActErrno || name == specs.ActTrace {
		return base | action(low)
	}
	return base
}

// tables maps names to numbers, for each column of the table.
var tables = sync.OnceValue(func() (tables [architectures]map[string]uint32) {
	for column := range tables {
		tables[column] = map[string]uint32{}
		for _, row := range syscallTable {
			if row.numbers[column] >= 0 {
				tables[column][row.name] = uint32(row.numbers[column])
			}
		}
	}
	return tables
})

func numberOf(a arch, name string) (uint32, bool) {
	number, ok := tables()[a.column][name]
	return number, ok
}

func newestNamed(a arch, p *specs.LinuxSeccomp) (newest uint32) {
	for _, call := range p.Syscalls {
		for _, name := range call.Names {
			if number, ok := numberOf(a, name); ok && number < 0xf0000 {
				newest = max(newest, number)
			}
		}
	}
	return newest
}

// isPrivate says whether the profile has a rule for one of arm's private calls.
func isPrivate(a arch, p *specs.LinuxSeccomp, number uint32) bool {
	return number >= 0xf0000 && len(referenceRules(a, p, data{number: number}, referenceAction(p.DefaultAction, p.DefaultErrnoRet))) > 0
}

// dockerFor resolves Docker's default profile for any architecture, which Docker's package only does for its own.
func dockerFor(goarch string, caps []string) *specs.LinuxSeccomp {
	source := docker.DefaultProfile()
	p := &source.LinuxSeccomp
	native := map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}[goarch]
	for _, a := range source.ArchMap {
		if a.Arch == native {
			p.Architectures = append([]specs.Arch{a.Arch}, a.SubArches...)
		}
	}
	for _, call := range source.Syscalls {
		if applies(call, goarch, caps) {
			p.Syscalls = append(p.Syscalls, call.LinuxSyscall)
		}
	}
	return p
}

func applies(call *docker.Syscall, goarch string, caps []string) bool {
	has := func(name string) bool { return slices.Contains(caps, name) }
	if x := call.Excludes; x != nil && (slices.Contains(x.Arches, goarch) || slices.ContainsFunc(x.Caps, has)) {
		return false
	}
	if i := call.Includes; i != nil {
		lacks := func(name string) bool { return !has(name) }
		return (len(i.Arches) == 0 || slices.Contains(i.Arches, goarch)) && !slices.ContainsFunc(i.Caps, lacks)
	}
	return true
}

func TestDefaultIsWhatDockerResolves(t *testing.T) {
	for _, caps := range [][]string{nil, ordinaryCaps, {"CAP_SYS_ADMIN"}} {
		p, err := Default(caps)
		if err != nil {
			t.Fatal(err)
		}
		want := dockerFor(runtime.GOARCH, caps)
		if !slices.Equal(p.Architectures, want.Architectures) || len(p.Syscalls) != len(want.Syscalls) {
			t.Errorf("caps %v: %v and %d entries, want %v and %d", caps,
				p.Architectures, len(p.Syscalls), want.Architectures, len(want.Syscalls))
		}
	}
}
