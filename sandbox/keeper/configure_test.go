package keeper

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/bivouac-run/bivouac/sandbox"
)

var update = flag.Bool("update", false, "write the golden files of TestConfigure")

// The configuration is what confines, so each change of it is to be seen in a diff.
func TestConfigure(t *testing.T) {
	id := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	mapped := []extent{{0, 1}, {1, 65536}}
	single := []extent{{0, 1}}
	for name, b := range map[string]*blueprint{
		"default": {id: id, root: "/r", hostname: "h", spec: &sandbox.Spec{Image: "i"}, uids: mapped, gids: mapped, caps: defaultCapabilities},
		"single":  {id: id, root: "/r", hostname: "h", spec: &sandbox.Spec{Image: "i"}, uids: single, gids: single, caps: defaultCapabilities},
		"everything": {
			id: id, root: "/r", hostname: "h", uids: mapped, gids: mapped, user: identity{uid: 33, gid: 33}, caps: []string{"CAP_KILL"},
			rlimits: []configs.Rlimit{{Type: 7, Soft: 1, Hard: 2}}, cgroup: "/user.slice/bivouac-0123456789ab", unified: true,
			files: []sandbox.Mount{{Type: sandbox.MountBind, Source: "/f/hosts", Target: "/etc/hosts"}},
			spec: &sandbox.Spec{
				Image: "i", ReadOnly: true, Network: sandbox.NetworkHost, UnmaskPaths: true,
				Mounts: []sandbox.Mount{
					{Type: sandbox.MountBind, Source: "/src", Target: "/dst", ReadOnly: true, Propagation: "rslave"},
					{Type: sandbox.MountTmpfs, Target: "/t", Size: 4096, Mode: 0o700, Exec: true},
				},
				Limits: sandbox.Limits{Memory: 1 << 20, Swap: 1 << 20, CPUs: 0.5, PIDs: 9},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(configure(b), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "configure-"+name+".json")
			if *update {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(got)+"\n" {
				t.Errorf("differs from %s; if that is meant, run go test -update and read the diff\n%s", file, got)
			}
		})
	}
}
