package seccomp

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	docker "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestLoadReadsDockersOwnProfile(t *testing.T) {
	text, err := json.Marshal(docker.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	for _, caps := range [][]string{nil, ordinaryCaps, {"CAP_SYS_ADMIN"}} {
		got, err := Load(text, caps)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := Default(caps); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("caps %v: got %v, want %v (%v)", caps, got, want, err)
		}
	}
}

func TestLoadReadsTheRuntimeSpecification(t *testing.T) {
	number := uint(13)
	want := &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchAARCH64},
		Flags:         []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
		Syscalls: []specs.LinuxSyscall{{
			Names: []string{"getcwd", "chmod"}, Action: specs.ActErrno, ErrnoRet: &number,
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: 1 << 40, ValueTwo: 1, Op: specs.OpMaskedEqual}},
		}},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Load(text, nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:     "unexpected end of JSON input",
		`{}`:   "neither a defaultAction nor syscalls",
		`null`: "neither a defaultAction nor syscalls",
		`[]`:   "cannot unmarshal array",
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[null]}`:                           "syscalls[0] is null",
		`{"syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}`:            "both 'name' and 'names'",
		`{"architectures":["SCMP_ARCH_X86"],"archMap":[{}],"syscalls":[{}]}`:             "both 'architectures' and 'archMap'",
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"includes":{"minKernel":"x"}}]}`: "invalid kernel version",
		`{"defaultAction":"SCMP_ACT_ERRNO"} x`:                                           "invalid character",
	} {
		if _, err := Load([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
