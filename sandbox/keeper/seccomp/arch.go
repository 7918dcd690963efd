package seccomp

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The columns of the syscall table.
const (
	columnX8664 = iota
	columnX86
	columnARM64
	columnARM
	architectures
)

// x32Bit is set in the syscall numbers of x86-64's x32 mode.
const x32Bit = 0x40000000

// armPrivate is the first number of arm's private syscalls (__ARM_NR_BASE), far above the ordinary ones.
const armPrivate = 0xf0000

// arch is one way to enter the kernel.
type arch struct {
	name   specs.Arch
	audit  uint32 // as the kernel reports it in struct seccomp_data
	column int    // in the syscall table
	narrow bool   // arguments have 32 bits
	x32    bool   // numbers from x32Bit belong to another mode
	muxes  bool   // has socketcall and ipc
}

var (
	archX8664 = arch{name: specs.ArchX86_64, audit: unix.AUDIT_ARCH_X86_64, column: columnX8664, x32: true}
	archX86   = arch{name: specs.ArchX86, audit: unix.AUDIT_ARCH_I386, column: columnX86, narrow: true, muxes: true}
	archARM64 = arch{name: specs.ArchAARCH64, audit: unix.AUDIT_ARCH_AARCH64, column: columnARM64}
	archARM   = arch{name: specs.ArchARM, audit: unix.AUDIT_ARCH_ARM, column: columnARM, narrow: true}
)

// family is what the kernel of one machine can run: its native architecture first.
type family []arch

// familyOf returns the family of a Go architecture.
func familyOf(goarch string) (family, error) {
	switch goarch {
	case "amd64":
		return family{archX8664, archX86}, nil
	case "arm64":
		return family{archARM64, archARM}, nil
	}
	return nil, &UnsupportedError{
		Feature: "the architecture " + goarch, Remedy: "run on amd64 or arm64, or switch seccomp off",
	}
}

// host returns the family of this machine.
func host() (family, error) { return familyOf(runtime.GOARCH) }

// filtered returns the members of the family that a profile wants filtered: the native one and those it names.
// Architectures of other machines are left out: no call can ever come from them.
func (f family) filtered(named []specs.Arch) ([]arch, error) {
	for _, name := range named {
		if !slices.Contains(knownArches, name) {
			return nil, fmt.Errorf("architectures: %q is not an architecture of the OCI runtime specification", name)
		}
	}
	chosen := []arch{f[0]}
	for _, a := range f[1:] {
		if slices.Contains(named, a.name) {
			chosen = append(chosen, a)
		}
	}
	return chosen, nil
}

// knownArches are the architectures of the OCI runtime specification 1.3.
var knownArches = []specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64,
	specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64,
	specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64,
	specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}
