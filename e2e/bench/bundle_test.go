package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bivouac-run/bivouac/userns"
)

// product is the part that is compared of what bivouac configures for a user with one id.
type product struct {
	Mounts []struct {
		Destination, Device, Data string
		Flags                     uintptr
	}
	Namespaces   []struct{ Type string }
	Capabilities struct{ Bounding, Effective, Permitted []string }
	Masked       []string `json:"mask_paths"`
	Readonly     []string `json:"readonly_paths"`
	NoNewPrivs   bool     `json:"no_new_privileges"`
}

func readProduct(t *testing.T) product {
	t.Helper()
	data, err := os.ReadFile("../../sandbox/keeper/testdata/configure-single.json")
	if err != nil {
		t.Fatal(err)
	}
	var p product
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// A peer that confined less than bivouac would be no measure of it.
func TestBundleConfinesAsBivouacDoes(t *testing.T) {
	want, got := readProduct(t), bundleSpec(nil, oneID())
	for name, pair := range map[string][2][]string{
		"bounding":  {got.Process.Capabilities.Bounding, want.Capabilities.Bounding},
		"effective": {got.Process.Capabilities.Effective, want.Capabilities.Effective},
		"permitted": {got.Process.Capabilities.Permitted, want.Capabilities.Permitted},
		"masked":    {got.Linux.MaskedPaths, want.Masked},
		"read-only": {got.Linux.ReadonlyPaths, want.Readonly},
	} {
		if a, b := slices.Sorted(slices.Values(pair[0])), slices.Sorted(slices.Values(pair[1])); !slices.Equal(a, b) || len(a) == 0 {
			t.Errorf("%s: got %v, bivouac has %v", name, a, b)
		}
	}
	if !got.Process.NoNewPrivileges || !want.NoNewPrivs {
		t.Errorf("no new privileges: got %v, bivouac has %v", got.Process.NoNewPrivileges, want.NoNewPrivs)
	}
}

func TestBundleMountsWhatBivouacMounts(t *testing.T) {
	want, got := readProduct(t).Mounts, bundleSpec(nil, oneID()).Mounts
	if len(got) != len(want) {
		t.Fatalf("got %d mounts, bivouac has %d", len(got), len(want))
	}
	for i, mount := range got {
		flags, data := splitOptions(mount.Options)
		if w := want[i]; mount.Destination != w.Destination || mount.Type != w.Device || flags != w.Flags || data != w.Data {
			t.Errorf("got %v, bivouac has %+v", mount, w)
		}
	}
}

// splitOptions parts options as runtimes do: into the kernel's flags and the rest.
func splitOptions(options []string) (flags uintptr, data string) {
	known := map[string]uintptr{"ro": 0x1, "nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "strictatime": 0x1000000}
	var rest []string
	for _, option := range options {
		if flag, ok := known[option]; ok {
			flags |= flag
		} else {
			rest = append(rest, option)
		}
	}
	return flags, strings.Join(rest, ",")
}

func TestBundleNamespaces(t *testing.T) {
	of := map[string]specs.LinuxNamespaceType{
		"NEWUSER": specs.UserNamespace, "NEWNS": specs.MountNamespace, "NEWPID": specs.PIDNamespace,
		"NEWIPC": specs.IPCNamespace, "NEWUTS": specs.UTSNamespace, "NEWNET": specs.NetworkNamespace,
		"NEWCGROUP": specs.CgroupNamespace,
	}
	var want, got []string
	for _, one := range readProduct(t).Namespaces {
		want = append(want, string(of[one.Type]))
	}
	for _, one := range bundleSpec(nil, oneID()).Linux.Namespaces {
		got = append(got, string(one.Type))
	}
	if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("got %v, bivouac has %v", got, want)
	}
}

func TestBundleMapsIDs(t *testing.T) {
	got := bundleSpec(nil, userns.Mapping{UIDs: []userns.IDMap{{HostID: 1000, Size: 1}}, GIDs: []userns.IDMap{{HostID: 1001, Size: 1}}}).Linux
	for name, test := range map[string]struct {
		got  []specs.LinuxIDMapping
		host uint32
	}{"uid": {got.UIDMappings, 1000}, "gid": {got.GIDMappings, 1001}} {
		if want := (specs.LinuxIDMapping{HostID: test.host, Size: 1}); !slices.Equal(test.got, []specs.LinuxIDMapping{want}) {
			t.Errorf("%s: got %v", name, test.got)
		}
	}
}

func TestDockerProfile(t *testing.T) {
	profile, err := dockerProfile()
	if err != nil {
		t.Fatal(err)
	}
	if profile.DefaultAction != specs.ActErrno {
		t.Errorf("got %s for unknown system calls", profile.DefaultAction)
	}
	allows := func(call string) bool {
		return slices.ContainsFunc(profile.Syscalls, func(s specs.LinuxSyscall) bool {
			return s.Action == specs.ActAllow && len(s.Args) == 0 && slices.Contains(s.Names, call)
		})
	}
	for call, want := range map[string]bool{"read": true, "chroot": true, "mount": false, "bpf": false} {
		if allows(call) != want {
			t.Errorf("%s: got allowed %v", call, !want)
		}
	}
}
