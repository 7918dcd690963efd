package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var smallTree = tree{"dir etc", "file etc/motd hello", "symlink etc/link motd", "hardlink etc/hard etc/motd", "file@1000 last x"}

func pullNow(t *testing.T, s *Store, name string, o PullOptions) *Image {
	t.Helper()
	img, err := s.Pull(context.Background(), mustParse(t, name), o)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPullUnderstands(t *testing.T) {
	r := newServer(t)
	for _, c := range []struct {
		what  string
		image v1.Image
	}{
		{"gzip", imageOf(t, packedGzip, smallTree)},
		{"zstd", imageOf(t, packedZstd, smallTree)},
		{"none", imageOf(t, packedNone, smallTree)},
		{"gzip-called-plain", imageOf(t, packing{gzipped, types.OCIUncompressedLayer}, smallTree)},
		{"zstd-called-gzip", imageOf(t, packing{zstded, types.DockerLayer}, smallTree)},
		{"plain-called-gzip", imageOf(t, packing{packedNone.pack, types.OCILayer}, smallTree)},
		{"docker", mutate.ConfigMediaType(mutate.MediaType(imageOf(t, packing{gzipped, types.DockerLayer}, smallTree),
			types.DockerManifestSchema2), types.DockerConfigJSON)},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := openStore(t)
			img := pullNow(t, s, r.push(t, "x:"+c.what, c.image), PullOptions{})
			want := []string{"dir etc", "file etc/hard 2cf24dba", "file etc/motd 2cf24dba", "file last 2d711642", "symlink etc/link motd"}
			if got := listing(t, img.Layers[0]); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if got := img.Config.Config.Env; !slices.Equal(got, []string{"A=b"}) {
				t.Errorf("environment %q", got)
			}
			id, err := c.image.ConfigName()
			if err != nil || img.ID.String() != id.String() {
				t.Errorf("id %s, want %s (%v)", img.ID, id, err)
			}
			if left := fsck(t, s); left != nil {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestPullManyLayers(t *testing.T) {
	var trees []tree
	for i := range 127 {
		trees = append(trees, tree{fmt.Sprintf("file n %d", i%100), "file last x"}) // 27 occur twice
	}
	r, s := newServer(t), openStore(t)
	img := pullNow(t, s, r.push(t, "x:many", imageOf(t, packedGzip, trees...)), PullOptions{})
	if len(img.Layers) != 127 || img.Layers[0] != img.Layers[100] || img.Layers[0] == img.Layers[1] {
		t.Errorf("%d layers", len(img.Layers))
	}
	if content, err := os.ReadFile(filepath.Join(img.Layers[99], "n")); err != nil || string(content) != "99" {
		t.Errorf("layer 99 has %q, %v", content, err)
	}
	if left := fsck(t, s); left != nil {
		t.Errorf("left %q", left)
	}
}

func TestPullSharesLayers(t *testing.T) {
	r, s := newServer(t), openStore(t)
	a := pullNow(t, s, r.push(t, "a:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	b := pullNow(t, s, r.push(t, "b:1", imageOf(t, packedZstd, smallTree, tree{"file last y"})), PullOptions{})
	if a.Layers[0] != b.Layers[0] {
		t.Errorf("one diff ID lies in %s and %s", a.Layers[0], b.Layers[0])
	}
	fsck(t, s)
}

func TestPullChoosesPlatform(t *testing.T) {
	r := newServer(t)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range []v1.Platform{
		{OS: "unknown", Architecture: "unknown"},
		{OS: "linux", Architecture: "arm", Variant: "v6"},
		{OS: "linux", Architecture: "arm", Variant: "v7"},
		{OS: "linux", Architecture: "arm64", Variant: "v8"},
		{OS: "linux", Architecture: "s390x"},
	} {
		img := imageFor(t, p, newLayer(t, packedGzip, tree{"file arch " + p.Architecture + p.Variant, "file last x"}.tar(t)))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	name := r.push(t, "multi:1", index)
	for platform, want := range map[string]string{
		"linux/arm": "armv7", "linux/arm/v7": "armv7", "linux/arm/v6": "armv6", "linux/arm64": "arm64v8", "linux/s390x": "s390x",
		"linux/arm/v5": "", "windows/amd64": "", "linux/riscv64": "",
	} {
		t.Run(platform, func(t *testing.T) {
			s := openStore(t)
			img, err := s.Pull(context.Background(), mustParse(t, name), PullOptions{Platform: platform})
			if want == "" {
				if !errors.Is(err, NoPlatform) || !strings.Contains(err.Error(), "linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/s390x") {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if content, err := os.ReadFile(filepath.Join(img.Layers[0], "arch")); err != nil || string(content) != want {
				t.Errorf("got %q, want %q (%v)", content, want, err)
			}
			r.spoiled(nil)
			if again := pullNow(t, s, name, PullOptions{Platform: platform}); again.Digest != img.Digest || r.requests("") != nil {
				t.Errorf("second pull got %s with %q", again.Digest, r.requests(""))
			}
		})
	}
}

func TestPullPlatformsOfOneNameSideBySide(t *testing.T) {
	r, s := newServer(t), openStore(t)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "s390x"}, hostV1()} {
		img := imageFor(t, p, newLayer(t, packedGzip, tree{"file arch " + p.Architecture, "file last x"}.tar(t)))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	name := r.push(t, "multi:1", index)
	foreign, own := pullNow(t, s, name, PullOptions{Platform: "linux/s390x"}), pullNow(t, s, name, PullOptions{})
	r.spoiled(nil)
	if got := pullNow(t, s, name, PullOptions{Platform: "linux/s390x"}); got.Digest != foreign.Digest || got.Digest == own.Digest {
		t.Errorf("digests %s, %s, %s", foreign.Digest, own.Digest, got.Digest)
	}
	if got := pullNow(t, s, name, PullOptions{}); got.Digest != own.Digest {
		t.Errorf("digest %s, want %s", got.Digest, own.Digest)
	}
	if seen := r.requests(""); seen != nil {
		t.Errorf("asked the registry: %q", seen)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || !strings.Contains(list[0].Platform, hostV1().Architecture) {
		t.Errorf("this machine's image is not the first: %+v, %v", list, err)
	}
}

func TestPullPolicies(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	ref := mustParse(t, name)
	if _, err := s.Pull(context.Background(), ref, PullOptions{Policy: Never}); !errors.Is(err, NotFound) ||
		!strings.Contains(err.Error(), "`bivouac pull "+name+"`") {
		t.Errorf("never, of an empty store: %v", err)
	}
	first := pullNow(t, s, name, PullOptions{})
	r.push(t, "x:1", imageOf(t, packedGzip, smallTree, tree{"file last y"}))
	r.spoiled(nil)
	for _, policy := range []Policy{Missing, Never, ""} {
		if img := pullNow(t, s, name, PullOptions{Policy: policy}); img.Digest != first.Digest {
			t.Errorf("%s gives another image", policy)
		}
	}
	if seen := r.requests(""); seen != nil {
		t.Errorf("asked the registry: %q", seen)
	}
	second := pullNow(t, s, name, PullOptions{Policy: Always})
	if second.Digest == first.Digest || len(r.requests("/blobs/sha256:")) != 2 {
		t.Errorf("always gives %s with %q", second.Digest, r.requests("/blobs/"))
	}
	r.spoiled(nil)
	if pullNow(t, s, name, PullOptions{Policy: Always}); !slices.Equal(r.requests("x"), []string{"HEAD /v2/x/manifests/1"}) {
		t.Errorf("always, of an unchanged image: %q", r.requests(""))
	}
	if _, err := s.Pull(context.Background(), ref, PullOptions{Policy: "sometimes"}); err == nil {
		t.Error("an unknown policy is taken")
	}
	if list, err := s.List(); err != nil || len(list) != 2 || list[0].Tag != "<none>" || list[1].Tag != "1" {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestPullByDigest(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	img := pullNow(t, s, name, PullOptions{})
	r.spoiled(nil)
	for _, name := range []string{r.host() + "/x@" + img.Digest.String(), name + "@" + img.Digest.String()} {
		if got := pullNow(t, s, name, PullOptions{}); got.Digest != img.Digest || r.requests("") != nil {
			t.Errorf("%s: got %s with %q", name, got.Digest, r.requests(""))
		}
	}
	fresh := openStore(t)
	if got := pullNow(t, fresh, name+"@"+img.Digest.String(), PullOptions{}); got.Name != r.host()+"/x@"+img.Digest.String() {
		t.Errorf("name %s", got.Name)
	}
}

func TestPullNotes(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, tree{"device dev/null", "file last x"}))
	var events []Event
	pullNow(t, s, name, PullOptions{Progress: func(e Event) { events = append(events, e) }})
	again := pullNow(t, s, name, PullOptions{})
	if len(again.Notes) != 1 || !strings.Contains(again.Notes[0], "dev/null") {
		t.Errorf("notes %q", again.Notes)
	}
	var kinds []string
	for _, e := range events {
		if e.Kind != Progress {
			kinds = append(kinds, string(e.Kind))
		}
	}
	if got := strings.Join(kinds, " "); got != "start unpack note done" {
		t.Errorf("events: %s", got)
	}
}

func TestPlainImages(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	img := pullNow(t, s, "rootfs:"+dir, PullOptions{})
	if !slices.Equal(img.Layers, []string{dir}) || img.Host || len(img.Config.Config.Env) != 1 {
		t.Errorf("directory: %+v", img)
	}
	if img := pullNow(t, s, "host:", PullOptions{}); !img.Host || img.Layers != nil {
		t.Errorf("host: %+v", img)
	}
	if _, err := s.Pull(context.Background(), mustParse(t, "rootfs:"+dir+"/none"), PullOptions{}); !errors.Is(err, NotFound) {
		t.Errorf("missing directory: %v", err)
	}
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("the store was made for it: %v", err)
	}
}

func mustFind(t *testing.T, s *Store, name string) ocispec.Descriptor {
	t.Helper()
	entry, ok, err := s.find(mustParse(t, name), hostPlatform())
	if err != nil || !ok {
		t.Fatalf("no entry %s (%v)", name, err)
	}
	return entry
}
