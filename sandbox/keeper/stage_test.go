package keeper

import (
	"slices"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

func stageOf(t *testing.T, change func(*blueprint)) (*stage, bool) {
	t.Helper()
	b := &blueprint{
		id: "id", root: "/root", hostname: "h", spec: &sandbox.Spec{}, uids: []extent{{0, 1}, {1, 65536}}, gids: []extent{{0, 1}, {1, 65536}},
		caps: []string{"CAP_CHOWN", "CAP_SYS_ADMIN"},
	}
	change(b)
	return newStage(configure(b), &b.user, single(b.uids), "/dir")
}

func TestStageHasEveryMountOfTheConfiguration(t *testing.T) {
	var c *configs.Config
	s, ok := stageOf(t, func(b *blueprint) {
		b.spec.Mounts = []sandbox.Mount{{Type: sandbox.MountBind, Source: "/src", Target: "/a/../b", ReadOnly: true}, {Type: sandbox.MountTmpfs, Target: "/t", ReadOnly: true}}
		b.unified = true
		c = configure(b)
	})
	if !ok {
		t.Fatal("the default configuration cannot be said in steps")
	}
	targets := map[string]bool{}
	for _, p := range s.steps {
		targets[p.target] = true
	}
	want := slices.Concat(c.MaskPaths, c.ReadonlyPaths, []string{"/b", "/t", "/sys/fs/cgroup", "/dev/null", "/dev/ptmx", "/proc"})
	for _, target := range want {
		if !targets[target] {
			t.Errorf("no step has the target %s", target)
		}
	}
}

func TestStageSaysWhatTheProgramMay(t *testing.T) {
	s, _ := stageOf(t, func(b *blueprint) { b.user = identity{uid: 7, gid: 8, groups: []int{9}}; b.spec.ReadOnly = true })
	if s.uid != 7 || s.gid != 8 || !slices.Equal(s.groups, []int{9}) || !s.setGroups || !s.readOnly || !s.loopback {
		t.Errorf("got %+v", s)
	}
	if s.bounding != 1<<unix.CAP_CHOWN|1<<unix.CAP_SYS_ADMIN || s.permitted != 0 {
		t.Errorf("bounding %x, permitted %x", s.bounding, s.permitted)
	}
}

func TestStageOfASingleIDStaysRoot(t *testing.T) {
	s, _ := stageOf(t, func(b *blueprint) {
		b.uids, b.gids = []extent{{0, 1}}, []extent{{0, 1}}
		b.user = identity{uid: 7, gid: 8, groups: []int{9}}
	})
	if s.uid != 0 || s.gid != 0 || s.groups != nil || s.setGroups {
		t.Errorf("got %+v", s)
	}
}

func TestStageLeavesToLibcontainerWhatItCannotSay(t *testing.T) {
	for _, target := range []string{"/proc/meminfo", "/proc", "/dev", "/", "/x/../proc/uptime"} {
		if _, ok := stageOf(t, func(b *blueprint) {
			b.spec.Mounts = []sandbox.Mount{{Type: sandbox.MountBind, Source: "/src", Target: target}}
		}); ok {
			t.Errorf("a mount on %s was taken", target)
		}
	}
}
