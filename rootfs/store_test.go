package rootfs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestDefaultDir(t *testing.T) {
	for _, c := range []struct{ home, data, own, want string }{
		{"/h", "", "", "/h/.local/share/bivouac"},
		{"/h", "/d", "", "/d/bivouac"},
		{"/h", "relative", "", "/h/.local/share/bivouac"},
		{"/h", "/d", "/o", "/o"},
	} {
		t.Setenv("HOME", c.home)
		t.Setenv("XDG_DATA_HOME", c.data)
		t.Setenv("BIVOUAC_HOME", c.own)
		if got, err := DefaultDir(); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
	t.Setenv("BIVOUAC_HOME", "")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "")
	if _, err := DefaultDir(); !errors.Is(err, BadConfig) {
		t.Errorf("no home: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct{ dir, key string }{{"x", "k"}, {"/x", "../k"}, {"/x", "a/b"}, {"/x", ".."}} {
		if _, err := Open(c.dir, StoreOptions{IDs: IDs{Key: c.key}}); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// TestStoreIsLayout reads the store with go-containerregistry.
func TestStoreIsLayout(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	pullNow(t, s, name, PullOptions{})
	path, err := layout.FromPath(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != name {
		t.Fatalf("%+v, %v", manifest, err)
	}
	img, err := path.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	blob, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, blob)
	if info, err := os.Stat(s.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestReplaceEntries(t *testing.T) {
	entry := func(first, name, platform string) ocispec.Descriptor {
		d := ocispec.Descriptor{Digest: digest.Digest("sha256:" + someHex(first)), Annotations: map[string]string{annotationRepo: "r"}}
		if name != "" {
			d.Annotations[annotationRef], d.Annotations[annotationName] = name, name
		}
		p, err := parsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		d.Platform = &p
		return d
	}
	for _, c := range []struct {
		what       string
		have       []ocispec.Descriptor
		add        ocispec.Descriptor
		wantDigest string // first digits, with the name
	}{
		{"first", nil, entry("1", "a", ""), "1a"},
		{"same", []ocispec.Descriptor{entry("1", "a", "")}, entry("1", "a", ""), "1a"},
		{"moved", []ocispec.Descriptor{entry("1", "a", "")}, entry("2", "a", ""), "1 2a"},
		{"moved from a shared one", []ocispec.Descriptor{entry("1", "a", ""), entry("1", "b", "")}, entry("2", "a", ""), "1b 2a"},
		{"moved back", []ocispec.Descriptor{entry("1", "", ""), entry("2", "a", "")}, entry("1", "a", ""), "2 1a"},
		{"other platform", []ocispec.Descriptor{entry("1", "a", "")}, entry("2", "a", "linux/s390x"), "1a 2a"},
		{"own platform", []ocispec.Descriptor{entry("2", "a", "linux/s390x"), entry("3", "b", "")}, entry("1", "a", ""), "1a 2a 3b"},
	} {
		var got []string
		for _, d := range replace(c.have, c.add) {
			got = append(got, d.Digest.Encoded()[:1]+nameOf(d))
		}
		if strings.Join(got, " ") != c.wantDigest {
			t.Errorf("%s: %q, want %q", c.what, got, c.wantDigest)
		}
	}
}

func someHex(first string) string { return first + strings.Repeat("0", 64-len(first)) }

func TestInspect(t *testing.T) {
	r, s := newServer(t), openStore(t)
	img := imageOf(t, packedGzip, smallTree)
	name, other := r.push(t, "x:1", img), r.push(t, "y:2", img)
	pulled := pullNow(t, s, name, PullOptions{})
	pullNow(t, s, other, PullOptions{})
	reading, err := Open(s.Dir(), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{name, r.host() + "/x@" + pulled.Digest.String(), pulled.ID.String(), pulled.ID.Encoded()[:4], pulled.Digest.Encoded()[:12]} {
		got, err := reading.Inspect(by, "")
		if err != nil || got.ID != pulled.ID || got.Digest != pulled.Digest {
			t.Errorf("%s: %+v, %v", by, got, err)
		}
		if !slices.Equal(got.RepoTags, []string{name, other}) || len(got.RepoDigests) != 2 || string(got.Config) != `{"Env":["A=b"]}` {
			t.Errorf("%s: %+v", by, got)
		}
	}
	for _, by := range []string{"nowhere", "deadbeef", "x:1"} {
		if _, err := reading.Inspect(by, ""); !errors.Is(err, NotFound) {
			t.Errorf("%s: %v", by, err)
		}
	}
	if _, err := reading.Pull(context.Background(), mustParse(t, name), PullOptions{}); err == nil {
		t.Error("a store without id mapping pulls")
	}
	if list, err := openStore(t).List(); err != nil || list != nil {
		t.Errorf("empty store: %+v, %v", list, err)
	}
}

func TestStoreIsFull(t *testing.T) {
	r := newServer(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree))
	got := child{Dir: t.TempDir(), Ref: name, Mount: "tmpfs", MountData: "size=3m"}.run(t)
	if got.Code != NoSpace || !strings.Contains(got.Error, "BIVOUAC_HOME") || strings.Contains(got.Error, "\n") {
		t.Errorf("%+v", got)
	}
}

// TestStoreWithoutXattrs uses ramfs, which has none. It has whatever space there is.
func TestStoreWithoutXattrs(t *testing.T) {
	r := newServer(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	got := child{Dir: t.TempDir(), Ref: name, Mount: "ramfs"}.run(t)
	if got.Code != NoXattr || !strings.Contains(got.Error, "BIVOUAC_HOME") || strings.Contains(got.Error, "\n") {
		t.Errorf("%+v", got)
	}
}

func TestStoreOfSomebodyElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	r, s := newServer(t), openStoreIn(t, filepath.Join(dir, "store"))
	_, err := s.Pull(context.Background(), mustParse(t, r.push(t, "x:1", imageOf(t, packedGzip, smallTree))), PullOptions{})
	if !errors.Is(err, BadConfig) || !strings.Contains(err.Error(), s.Dir()) {
		t.Errorf("error %v", err)
	}
}

func TestSweep(t *testing.T) {
	s := openStore(t)
	if err := s.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	name := "sha256-" + someHex("a")
	old := time.Now().Add(-2 * maxPartialAge)
	for _, path := range []string{s.path("layers/single/tmp", name, "diff/x"), s.path("layers/single/tmp/held/diff/x"),
		s.path("partial", name), s.path("partial/recent"), s.path("locks/layer-single-x"), s.path("tmp/x")} {
		writeConf(t, path, "x")
	}
	for _, path := range []string{s.path("partial", name), s.path("tmp/x")} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	held, err := s.lock(context.Background(), s.layerLock("held"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.sweep()
	held.Unlock()
	left := fsck(t, s)
	if want := []string{s.path("partial/recent"), s.path("layers/single/tmp/held")}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

func TestLockIsExclusive(t *testing.T) {
	s := openStore(t)
	held, err := s.lock(context.Background(), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := s.lock(ctx, "x", func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Errorf("second lock: %v", err)
	}
	held.Unlock()
	again, err := s.tryLock("x")
	if err != nil || again == nil {
		t.Fatalf("after unlock: %v", err)
	}
	again.Unlock()
}

// TestOtherToolsReadStore uses those that are installed.
func TestOtherToolsReadStore(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	pullNow(t, s, name, PullOptions{})
	for _, command := range [][]string{
		{"skopeo", "inspect", "oci:" + s.Dir() + ":" + name}, {"umoci", "stat", "--image", s.Dir() + ":" + name},
	} {
		if _, err := exec.LookPath(command[0]); err != nil {
			t.Logf("%s is not installed", command[0])
			continue
		}
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", command, err, out)
		}
	}
}
