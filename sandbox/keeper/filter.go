package keeper

import (
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper/seccomp"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// makePlan gets the filters for the container's first process.
func (c *container) makePlan(b *blueprint) (*plan, error) {
	p := &plan{args: c.proc.args, env: c.proc.env, stay: c.spec.Init, terminal: c.spec.Terminal != nil}
	if c.spec.Checkpointable {
		p.stay, p.tree, p.lastPID = true, true, firstPID-1
	}
	if c.k.single() {
		filter, err := emulationFilter()
		if err != nil {
			return nil, err
		}
		p.notify, p.notifyFlags = filter, emulate.InstallFlags
	}
	return p, c.confine(p, b.caps)
}

// firstPID is the number of the program of a container that may be checkpointed. Those below are for who is there first in a
// clone.
const firstPID = 100

var emulationFilter = sync.OnceValues(emulate.Filter)

// confine adds the seccomp profile that was asked for.
func (c *container) confine(p *plan, caps []string) error {
	if c.spec.Seccomp == "unconfined" {
		return nil
	}
	f, err := filterOf(c.spec.Seccomp, caps)
	if err != nil {
		return err
	}
	if len(f.unknown) > 0 {
		c.warnings = append(c.warnings, "the seccomp profile names system calls that do not exist: "+strings.Join(f.unknown, ", "))
	}
	p.filter, p.filterFlags = f.code, f.flags
	return nil
}

// filter is a compiled profile.
type filter struct {
	code    []byte
	flags   uint
	unknown []string // system calls that there are not
}

// prepareFilters compiles what most containers need, while nothing has been asked for yet.
func prepareFilters(single bool) {
	_, _ = filterOf("", slices.Sorted(slices.Values(defaultCapabilities)))
	if single {
		_, _ = emulationFilter()
	}
}

// defaultFilters are those of Docker's profile, by the capabilities that it depends on.
var defaultFilters sync.Map

// filterOf compiles a profile in Docker's JSON form, or Docker's own if it is empty.
func filterOf(profile string, caps []string) (*filter, error) {
	if profile != "" {
		loaded, err := seccomp.Load([]byte(profile), caps)
		if err != nil {
			return nil, unreadable(err)
		}
		return compile(loaded, seccomp.Unknown(loaded))
	}
	key := strings.Join(caps, " ")
	if f, ok := defaultFilters.Load(key); ok {
		return f.(*filter), nil
	}
	loaded, err := seccomp.Default(caps)
	if err != nil {
		return nil, unreadable(err)
	}
	f, err := compile(loaded, nil)
	if err == nil {
		defaultFilters.Store(key, f)
	}
	return f, err
}

func unreadable(err error) error {
	return sandbox.Errorf(sandbox.CodeInvalid, "read seccomp profile: %v", err).WithRemedy("see Docker's documentation of seccomp profiles for the format")
}

func compile(loaded *specs.LinuxSeccomp, unknown []string) (*filter, error) {
	code, err := seccomp.Compile(loaded)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "compile seccomp profile: %v", err)
	}
	flags, err := seccomp.Flags(loaded)
	return &filter{code, flags, unknown}, err
}
