package keeper

import (
	"reflect"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestCommand(t *testing.T) {
	image := &ocispec.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"serve", "--all"}}
	for name, c := range map[string]struct {
		spec sandbox.Spec
		want []string
	}{
		"the image's":                        {sandbox.Spec{}, []string{"/entry", "serve", "--all"}},
		"arguments replace the command":      {sandbox.Spec{Args: []string{"x"}}, []string{"/entry", "x"}},
		"an entrypoint drops the command":    {sandbox.Spec{Entrypoint: &[]string{"/mine"}}, []string{"/mine"}},
		"an entrypoint with arguments":       {sandbox.Spec{Entrypoint: &[]string{"/mine"}, Args: []string{"x"}}, []string{"/mine", "x"}},
		"no entrypoint leaves the arguments": {sandbox.Spec{Entrypoint: &[]string{}, Args: []string{"x"}}, []string{"x"}},
	} {
		if got := command(&c.spec, image); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestResolveProcessRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spec  sandbox.Spec
		image ocispec.ImageConfig
	}{
		"no command":                   {},
		"a relative working directory": {spec: sandbox.Spec{Args: []string{"x"}, WorkingDir: "rel"}},
		"an unknown stop signal":       {spec: sandbox.Spec{Args: []string{"x"}, StopSignal: "SIGFOO"}},
	} {
		_, err := resolveProcess(&c.spec, &c.image, "h")
		if sandbox.CodeOf(err) != sandbox.CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestEnvironmentKeepsTheLastOfEachName(t *testing.T) {
	image := &ocispec.ImageConfig{Env: []string{"PATH=/image", "A=image"}}
	got := environment(&sandbox.Spec{Env: []string{"A=mine", "B=1", "B=2"}}, image, "h")
	want := []string{"PATH=/image", "HOSTNAME=h", "A=mine", "B=2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHostEnvironmentPassesNoSecrets(t *testing.T) {
	got := hostEnvironment([]string{"PATH=/p", "AWS_SECRET=x", "LC_ALL=C", "LCX=1", "TERM=t", "SSH_AUTH_SOCK=/s"})
	if want := []string{"PATH=/p", "LC_ALL=C", "TERM=t"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResolveCapabilities(t *testing.T) {
	for name, c := range map[string]struct{ add, drop, want []string }{
		"drop all, add one":   {[]string{"net_raw"}, []string{"ALL"}, []string{"CAP_NET_RAW"}},
		"drop all":            {nil, []string{"all"}, nil},
		"names in any form":   {[]string{"CAP_SYS_TIME", "sys_time"}, []string{"ALL"}, []string{"CAP_SYS_TIME"}},
		"dropped beats added": {[]string{"SYS_TIME"}, []string{"ALL", "SYS_TIME"}, nil},
	} {
		got, err := resolveCapabilities(c.add, c.drop)
		if err != nil || !reflect.DeepEqual(append([]string{}, got...), append([]string{}, c.want...)) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
	if got, err := resolveCapabilities(nil, nil); err != nil || len(got) != 14 {
		t.Errorf("default: got %q, %v", got, err)
	}
	if got, err := resolveCapabilities([]string{"ALL"}, []string{"CHOWN"}); err != nil || len(got) < 37 || slices.Contains(got, "CAP_CHOWN") {
		t.Errorf("all but one: got %q, %v", got, err)
	}
	if _, err := resolveCapabilities([]string{"FLY"}, nil); sandbox.CodeOf(err) != sandbox.CodeInvalid {
		t.Errorf("unknown: got %v", err)
	}
}

func TestPlanRefusesZeroBytes(t *testing.T) {
	if _, err := (&plan{args: []string{"a\x00b"}}).encode(); sandbox.CodeOf(err) != sandbox.CodeInvalid {
		t.Errorf("a zero byte in an argument: %v", err)
	}
}

func TestPlanPadsItsStrings(t *testing.T) {
	for n := range 20 {
		text, err := (&plan{args: []string{string(make([]byte, 0)), "abcdefghijklmnopqrst"[:n]}, filter: make([]byte, 16)}).encode()
		if err != nil || len(text)%8 != 0 {
			t.Errorf("%d letters: %d bytes, %v", n, len(text), err)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "a.b-c_d": true, ".a": false, "a/b": false, "..": false, "": true, "-x": false} {
		if validName(name) != want {
			t.Errorf("%q: got %v", name, !want)
		}
	}
}

func TestCheckMount(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		m  sandbox.Mount
		ok bool
	}{
		"a bind":            {sandbox.Mount{Type: sandbox.MountBind, Source: dir, Target: "/x"}, true},
		"a missing source":  {sandbox.Mount{Type: sandbox.MountBind, Source: dir + "/no", Target: "/x"}, false},
		"a relative source": {sandbox.Mount{Type: sandbox.MountBind, Source: "rel", Target: "/x"}, false},
		"a relative target": {sandbox.Mount{Type: sandbox.MountTmpfs, Target: "x"}, false},
		"the root":          {sandbox.Mount{Type: sandbox.MountTmpfs, Target: "/x/.."}, false},
		"an unknown type":   {sandbox.Mount{Type: "nfs", Target: "/x"}, false},
		"a tmpfs":           {sandbox.Mount{Type: sandbox.MountTmpfs, Target: "/x"}, true},
	} {
		err := checkMount(c.m)
		if (err == nil) != c.ok || err != nil && sandbox.CodeOf(err) != sandbox.CodeMount {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
