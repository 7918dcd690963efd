package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	docker "github.com/moby/profiles/seccomp"
)

// FuzzLoad makes programs of whatever loads, and checks them as the kernel would and against the reference.
func FuzzLoad(f *testing.F) {
	own, err := json.Marshal(docker.DefaultProfile())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_KILL_PROCESS","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
		"syscalls":[{"name":"socket","action":"SCMP_ACT_LOG","args":[{"index":0,"value":38,"op":"SCMP_CMP_LT"}],"excludes":{"minKernel":"4.8"}}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_ARM"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
		"syscalls":[{"names":["ipc","semop","set_tls"],"action":"SCMP_ACT_ERRNO","errnoRet":38,
		"args":[{"index":1,"value":18446744073709551615,"valueTwo":7,"op":"SCMP_CMP_MASKED_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_GE"}]}]}`))
	f.Fuzz(checkText)
}

func checkText(t *testing.T, text []byte) {
	p, err := Load(text, ordinaryCaps)
	if err != nil {
		return
	}
	_, _ = Flags(p)
	Unknown(p)
	random, values, numbers := rand.New(rand.NewPCG(3, 4)), interesting(p), numbers()
	for _, goarch := range []string{"amd64", "arm64"} {
		family, err := familyOf(goarch)
		if err != nil {
			t.Fatal(err)
		}
		code, err := family.compile(p)
		if err != nil {
			continue
		}
		m, err := newMachine(code)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			d := data{number: pick(random, numbers), audit: pick(random, audits), args: choose(random, values)}
			if got, _ := m.run(d); got != reference(family, p, d) {
				t.Fatalf("%v: got %#x, want %#x", d, got, reference(family, p, d))
			}
		}
	}
}
