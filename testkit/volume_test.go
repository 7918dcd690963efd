package testkit

import (
	"context"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestVolumesAreMountedByName(t *testing.T) {
	e := &fakeEngine{}
	k := newKeeper(func(context.Context) (engine, error) { return e, nil })
	v, err := newVolume(t.Context(), k)
	if err != nil || !v.Inspect().Ephemeral {
		t.Fatalf("%v %+v", err, v)
	}
	s, err := collect("image", []Option{MountVolume(v, "/a"), MountVolumeReadOnly(v, "/b")})
	if err != nil {
		t.Fatal(err)
	}
	want := []sandbox.Mount{
		{Type: sandbox.MountVolume, Source: v.info.Name, Target: "/a"}, {Type: sandbox.MountVolume, Source: v.info.Name, Target: "/b", ReadOnly: true},
	}
	if len(s.spec.Mounts) != 2 || s.spec.Mounts[0] != want[0] || s.spec.Mounts[1] != want[1] {
		t.Errorf("mounts %+v", s.spec.Mounts)
	}
	if err := s.checkVolumes(&fakeEngine{}); sandbox.CodeOf(err) != sandbox.CodeNotFound {
		t.Errorf("a volume of another keeper is taken: %v", err)
	}
	if err := s.checkVolumes(e); err != nil {
		t.Error(err)
	}
	if _, err := s.claimSpec(); err == nil || !strings.Contains(err.Error(), "MountVolume") {
		t.Errorf("a checkpoint for all tests has a volume of one: %v", err)
	}
	if err := v.Close(); err != nil || e.volumes[v.info.Name] {
		t.Errorf("closed: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestVolumeMountsAreChecked(t *testing.T) {
	v := &SharedVolume{info: sandbox.Volume{Name: "vol"}}
	for _, opts := range [][]Option{
		{MountVolume(nil, "/a")}, {MountVolume(v, "/a"), Tmpfs("/a")}, {MountVolume(v, "/a"), File("/a/b", "")},
	} {
		if _, err := collect("image", opts); err == nil || !strings.Contains(err.Error(), "MountVolume") {
			t.Errorf("got %v", err)
		}
	}
}
