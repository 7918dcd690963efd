package seccomp

import (
	"errors"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []specs.LinuxSeccompFlag
		want  uint
	}{
		{"none given", nil, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"empty", []specs.LinuxSeccompFlag{}, 0},
		{"log", []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_LOG"}, unix.SECCOMP_FILTER_FLAG_LOG},
		{"two", []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
			unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	} {
		if got, err := Flags(&specs.LinuxSeccomp{Flags: c.flags}); got != c.want || err != nil {
			t.Errorf("%s: got %#x, %v, want %#x", c.name, got, err, c.want)
		}
	}
}

func TestFlagsRefuses(t *testing.T) {
	for flag, unsupported := range map[specs.LinuxSeccompFlag]bool{
		specs.LinuxSeccompFlagWaitKillableRecv: true, "SECCOMP_FILTER_FLAG_FOO": false,
	} {
		_, err := Flags(&specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{flag}})
		if err == nil || errors.Is(err, errors.ErrUnsupported) != unsupported {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}
