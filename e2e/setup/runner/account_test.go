package main

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAccountsRefuse(t *testing.T) {
	for name, c := range map[string]config{
		"root":         {users: "mapped=root"},
		"unknown user": {users: "mapped=no-such-user"},
		"no such kind": {users: "mapped=" + caller(t), kind: "single"},
		"nobody":       {},
	} {
		c.scratch = t.TempDir()
		if got, err := accounts(c); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestAccount(t *testing.T) {
	t.Setenv("SECRET_OF_THE_CALLER", "x")
	t.Setenv("BIVOUAC_CRIU", "/some/criu")
	scratch := t.TempDir()
	got, err := accounts(config{scratch: scratch, users: "single=" + caller(t), binary: "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	env := got[0].environ()
	for _, want := range []string{
		"HOME=" + filepath.Join(scratch, "single/home"), "BIVOUAC_E2E_USER_KIND=single", "BIVOUAC_E2E_BINARY=/bin/true",
		"BIVOUAC_CRIU=/some/criu",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %v", want, env)
		}
	}
	if strings.Contains(strings.Join(env, " "), "SECRET") {
		t.Errorf("the caller's environment went on: %v", env)
	}
	info, err := os.Stat(filepath.Join(scratch, "single/run"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("runtime directory: %v, %v", info, err)
	}
}

func caller(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}
