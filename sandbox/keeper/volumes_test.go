package keeper

import (
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func TestMountsOfImagesComeBeforeThoseBelowThem(t *testing.T) {
	list := []sandbox.Mount{{Target: "/a"}, {Target: "/data/sub"}, {Target: "/b"}}
	for _, target := range []string{"/data", "/last"} {
		list = insertMount(list, sandbox.Mount{Target: target})
	}
	var got []string
	for _, m := range list {
		got = append(got, m.Target)
	}
	if want := []string{"/a", "/data", "/data/sub", "/b", "/last"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestImagesVolumesAreOfContainersThatAreKept(t *testing.T) {
	image := &rootfs.Image{}
	image.Config.Config = ocispec.ImageConfig{Volumes: map[string]struct{}{"/data": {}, "/data/": {}, "other": {}, "/taken": {}}}
	taken := []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/taken/"}}
	for _, test := range []struct {
		spec sandbox.Spec
		want []string
	}{
		{sandbox.Spec{Keep: true, Mounts: taken}, []string{"/data", "/other"}},
		{sandbox.Spec{Mounts: taken}, nil},
		{sandbox.Spec{Keep: true, Checkpointable: true}, nil},
	} {
		c := &container{spec: &test.spec, image: image}
		if got := c.imageVolumes(); !slices.Equal(got, test.want) {
			t.Errorf("%+v: got %v", test.spec, got)
		}
	}
	image.Host = true
	if got := (&container{spec: &sandbox.Spec{Keep: true}, image: image}).imageVolumes(); got != nil {
		t.Errorf("got %v of the machine's root", got)
	}
}

func TestVolumesOfClones(t *testing.T) {
	original := &sandbox.Spec{Mounts: []sandbox.Mount{
		{Type: sandbox.MountVolume, Target: "/own"}, {Type: sandbox.MountVolume, Source: "named", Target: "/named"}, {Type: sandbox.MountTmpfs, Target: "/t"},
	}}
	got := cloneSpec(original, &sandbox.RestoreSpec{}).Mounts
	if len(got) != 2 || got[0].Source != "named" || got[1].Target != "/t" || len(original.Mounts) != 3 {
		t.Errorf("got %+v", got)
	}
}
