package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSecurityOptions(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options []string
		seccomp string
		unmask  bool
	}{
		{nil, "", false},
		{[]string{"seccomp=unconfined"}, "unconfined", false},
		{[]string{"seccomp:unconfined"}, "unconfined", false},
		{[]string{"seccomp=builtin"}, "", false},
		{[]string{"seccomp=" + profile}, `{"defaultAction":"SCMP_ACT_ALLOW"}`, false},
		{[]string{"seccomp=unconfined", "seccomp=builtin"}, "", false},
		{[]string{"no-new-privileges"}, "", false},
		{[]string{"no-new-privileges=true"}, "", false},
		{[]string{"no-new-privileges:true"}, "", false},
		{[]string{"systempaths=unconfined"}, "", true},
		{[]string{"apparmor=unconfined", "label=disable", "label:disable"}, "", false},
		{[]string{"systempaths=unconfined", "seccomp=unconfined"}, "unconfined", true},
	} {
		s := mustParseRun(t, append(securityFlags(test.options), "alpine")...)
		if s.Seccomp != test.seccomp || s.UnmaskPaths != test.unmask {
			t.Errorf("%q: got %q, %v", test.options, s.Seccomp, s.UnmaskPaths)
		}
	}
}

func securityFlags(options []string) []string {
	var flags []string
	for _, o := range options {
		flags = append(flags, "--security-opt", o)
	}
	return flags
}

func TestSecurityOptionsThatCannotBeGranted(t *testing.T) {
	for _, test := range []struct{ option, part string }{
		{"", "use seccomp"},
		{"unconfined", "use seccomp"},
		{"seccomp", "needs a file"},
		{"seccomp=", "needs a file"},
		{"seccomp=/no/such/profile", "/no/such/profile"},
		{"seccomp=" + t.TempDir(), "read profile"},
		{"no-new-privileges=false", "always on"},
		{"systempaths", "unconfined"},
		{"systempaths=all", "unconfined"},
		{"apparmor=docker-default", "without root"},
		{"label=type:container_t", "without root"},
		{"credentialspec=file://x", "unknown"},
	} {
		refuseRun(t, []string{"--security-opt", test.option, "alpine"}, "--security-opt "+test.option, test.part)
	}
}
