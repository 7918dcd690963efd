package seccomp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestDockerProfileOnEachArchitecture(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64"} {
		for name, caps := range map[string][]string{
			"none": nil, "ordinary": ordinaryCaps, "admin": append([]string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE"}, ordinaryCaps...),
		} {
			t.Run(goarch+"/"+name, func(t *testing.T) {
				compareWithReference(t, goarch, dockerFor(goarch, caps), 20)
			})
		}
	}
}

func TestRandomProfilesOnEachArchitecture(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		for _, goarch := range []string{"amd64", "arm64"} {
			t.Run(fmt.Sprint(goarch, seed), func(t *testing.T) {
				compareWithReference(t, goarch, randomProfile(random, goarch), 4)
			})
		}
	}
}

// compareWithReference tries all numbers, each with as many random choices of interesting arguments.
func compareWithReference(t *testing.T, goarch string, p *specs.LinuxSeccomp, tries int) {
	t.Helper()
	family, err := familyOf(goarch)
	if err != nil {
		t.Fatal(err)
	}
	code, err := family.compile(p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(code)
	if err != nil {
		t.Fatal(err)
	}
	random, values, conditional := rand.New(rand.NewPCG(1, 2)), interesting(p), conditionalNumbers(p)
	for _, audit := range audits {
		for _, number := range numbers() {
			for range triesFor(conditional, number, tries) {
				d := data{number: number, audit: audit, args: choose(random, values)}
				if got, _ := m.run(d); got != reference(family, p, d) {
					t.Fatalf("%v: got %#x, want %#x", d, got, reference(family, p, d))
				}
			}
		}
	}
}

var audits = []uint32{
	unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_S390X, 0,
}

// numbers are all ordinary syscalls and more, and those around the edges of special ranges.
func numbers() (all []uint32) {
	for number := range uint32(601) {
		all = append(all, number, number|x32Bit)
	}
	for number := range uint32(8) {
		all = append(all, armPrivate+number)
	}
	return append(all, x32Bit-1, 1<<31-1, 1<<31, ^uint32(0)-1, ^uint32(0), armPrivate-1)
}

// triesFor spends more on calls that may have conditions.
func triesFor(conditional map[uint32]bool, number uint32, tries int) int {
	if conditional[number] {
		return tries * 10
	}
	return 1
}

// conditionalNumbers are the numbers, on any architecture, of calls with conditions and of those that have sub-calls.
func conditionalNumbers(p *specs.LinuxSeccomp) map[uint32]bool {
	found := map[uint32]bool{102: true, 117: true}
	for _, call := range p.Syscalls {
		for _, name := range call.Names {
			for column := range architectures {
				if number, ok := tables()[column][name]; ok && len(call.Args) > 0 {
					found[number] = true
				}
			}
		}
	}
	return found
}

// interesting are the values of a profile and their neighbours.
func interesting(p *specs.LinuxSeccomp) []uint64 {
	values := []uint64{0, 1, 2, 16, 1 << 16, 1<<16 | 1, 1<<32 - 1, 1 << 32, 1 << 63, ^uint64(0)}
	for _, call := range p.Syscalls {
		for _, arg := range call.Args {
			for _, v := range []uint64{arg.Value, arg.ValueTwo} {
				values = append(values, v, v-1, v+1, ^v, v^1<<32, v<<32, v>>32, v&0xffffffff, v+1<<32, v-1<<32)
			}
		}
	}
	return values
}

func choose(random *rand.Rand, values []uint64) (args [maxArguments]uint64) {
	for i := range args {
		args[i] = values[random.IntN(len(values))]
	}
	return args
}

func randomProfile(random *rand.Rand, goarch string) *specs.LinuxSeccomp {
	p := &specs.LinuxSeccomp{DefaultAction: pick(random, someActions)}
	if random.IntN(3) > 0 {
		p.Architectures = dockerFor(goarch, nil).Architectures
	}
	for range random.IntN(12) {
		call := specs.LinuxSyscall{Action: pick(random, someActions)}
		for range 1 + random.IntN(3) {
			call.Names = append(call.Names, pick(random, someNames))
		}
		for range random.IntN(4) {
			call.Args = append(call.Args, randomArg(random))
		}
		p.Syscalls = append(p.Syscalls, call)
	}
	return p
}

func randomArg(random *rand.Rand) specs.LinuxSeccompArg {
	value := func() uint64 {
		return uint64(random.IntN(3))<<(32*random.IntN(2)) | random.Uint64()&random.Uint64()>>random.IntN(64)
	}
	arg := specs.LinuxSeccompArg{Index: uint(random.IntN(maxArguments)), Value: value(), Op: pick(random, someOperators)}
	if arg.Op == specs.OpMaskedEqual {
		arg.ValueTwo = value()
	}
	return arg
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

var (
	someActions = []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap,
		specs.ActTrace, specs.ActLog,
	}
	someOperators = []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
		specs.OpMaskedEqual,
	}
	someNames = []string{
		"read", "write", "openat", "socket", "accept", "sendto", "socketcall", "semop", "shmget", "ipc", "clone", "mmap",
		"mmap2", "set_tls", "cacheflush", "setxattrat", "no_such_call",
	}
)

// TestFarJumps compiles a program in which most jumps are too far for eight bits.
func TestFarJumps(t *testing.T) {
	p := dockerFor("amd64", nil)
	for i := range 40 {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names:  []string{"keyctl", "mount", "ptrace", "bpf"},
			Action: pick(rand.New(rand.NewPCG(uint64(i), 0)), someActions[:6]),
			Args:   []specs.LinuxSeccompArg{{Index: uint(i % 5), Value: uint64(i) << 31, Op: someOperators[i%6]}},
		})
	}
	compareWithReference(t, "amd64", p, 20)
}

func TestCompileErrors(t *testing.T) {
	number := uint(4096)
	entry := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{s}}
	}
	mount := []string{"mount"}
	for want, p := range map[string]*specs.LinuxSeccomp{
		"there is none":                         nil,
		`defaultAction: ""`:                     {},
		"takes no errno":                        entry(specs.LinuxSyscall{Names: mount, Action: specs.ActAllow, ErrnoRet: new(uint)}),
		"errno 4096 is too large":               entry(specs.LinuxSyscall{Names: mount, Action: specs.ActErrno, ErrnoRet: &number}),
		"syscalls[0] (mount): \"SCMP_ACT_FOO\"": entry(specs.LinuxSyscall{Names: mount, Action: "SCMP_ACT_FOO"}),
		"a name is empty":                       entry(specs.LinuxSyscall{Names: []string{""}, Action: specs.ActAllow}),
		`"vax" is not an architecture`:          {DefaultAction: specs.ActErrno, Architectures: []specs.Arch{"vax"}},
		"args[0]: argument index 6": entry(specs.LinuxSyscall{Names: mount, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}),
		`"SCMP_CMP_FOO" is not`: entry(specs.LinuxSyscall{Names: mount, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_FOO"}}}),
		"takes no valueTwo": entry(specs.LinuxSyscall{Names: mount, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo, ValueTwo: 1}}}),
		"the kernel takes 4096": entry(specs.LinuxSyscall{Names: mount, Action: specs.ActAllow,
			Args: manyConditions(2000)}),
	} {
		if _, err := Compile(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func manyConditions(n uint64) (args []specs.LinuxSeccompArg) {
	for value := range n {
		args = append(args, specs.LinuxSeccompArg{Op: specs.OpEqualTo, Value: value<<32 | value})
	}
	return args
}

func TestNotifyIsUnsupported(t *testing.T) {
	_, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActNotify})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "SCMP_ACT_NOTIFY is not supported") {
		t.Errorf("got %v", err)
	}
	if _, err := familyOf("riscv64"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("riscv64: got %v", err)
	}
}
