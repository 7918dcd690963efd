package rootfs

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// change makes an upper directory of a few files.
func change(t testing.TB, text string) string {
	t.Helper()
	d, err := os.MkdirTemp(t.TempDir(), "upper")
	must(t, err)
	must(t, os.Chmod(d, 0o755))
	must(t, os.Mkdir(filepath.Join(d, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(d, "last"), []byte(text), 0o644))
	must(t, unix.Mknod(filepath.Join(d, "dir", "gone"), unix.S_IFCHR, 0))
	for _, name := range []string{"last", "dir"} {
		must(t, os.Chtimes(filepath.Join(d, name), time.Unix(100, 0), time.Unix(100, 0)))
	}
	return d
}

func inNamespace(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) { test(t) }, nstest.Single)
}

func TestCreateLayer(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		copied, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x")})
		must(t, err)
		upper := change(t, "x")
		taken, err := openStoreAt(t, t.TempDir()).CreateLayer(t.Context(), NewLayer{Upper: upper, Take: true})
		must(t, err)
		if copied.DiffID != taken.DiffID || copied.Descriptor.Digest != taken.Descriptor.Digest || copied.Size != 1 {
			t.Errorf("%+v and %+v", copied, taken)
		}
		if _, err := os.Lstat(upper); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was taken is still there: %v", err)
		}
		if left := fsck(t, s); len(left) > 0 {
			t.Error(left)
		}
		zstd, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x"), Media: ocispec.MediaTypeImageLayerZstd})
		must(t, err)
		if zstd.DiffID != copied.DiffID || zstd.Descriptor.Digest == copied.Descriptor.Digest {
			t.Errorf("%+v", zstd)
		}
		if _, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x"), Media: "text/plain"}); !errors.Is(err, Unsupported) {
			t.Error(err)
		}
		empty, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x"), Omit: []string{"/dir", "last"}})
		must(t, err)
		if !empty.Empty || s.hasBlob(empty.Descriptor) {
			t.Errorf("%+v", empty)
		}
	})
}

func openStoreAt(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, StoreOptions{IDs: singleIDs})
	must(t, err)
	return s
}

func TestCreateImage(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		r, s := newServer(t), openStore(t)
		base := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
		layer, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x")})
		must(t, err)
		config := json.RawMessage(`{"config":{"Cmd":["a&b"]},"x-mine":1,"history":[{"created_by":"<1>"}]}`)
		img, err := s.CreateImage(t.Context(), NewImage{Base: base, Layers: []Layer{layer, {Empty: true}}, Config: config,
			Names: []Reference{mustParse(t, "mine"), mustParse(t, "mine:2")}, Annotations: map[string]string{"a": "b"}})
		must(t, err)
		var raw map[string]any
		must(t, json.Unmarshal(img.RawConfig, &raw))
		if img.Name != "docker.io/library/mine:latest" || len(img.Layers) != 2 || raw["x-mine"] != 1.0 || img.Config.OS != "linux" {
			t.Errorf("%+v %s", img, img.RawConfig)
		}
		again := pullNow(t, s, "mine:2", PullOptions{Policy: Never})
		if again.ID != img.ID || !slices.Equal(again.Layers, img.Layers) {
			t.Errorf("%+v", again)
		}
		nameless, err := s.CreateImage(t.Context(), NewImage{Layers: []Layer{layer}, Config: config})
		must(t, err)
		if found, err := s.Inspect(nameless.ID.String(), ""); err != nil || len(found.RepoTags) > 0 {
			t.Errorf("%+v, %v", found, err)
		}
		if left := fsck(t, s); len(left) > 0 {
			t.Error(left)
		}
	})
}

func TestCreateImageRefuses(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		layer, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x")})
		must(t, err)
		for _, c := range []struct {
			o    NewImage
			code Code
		}{
			{NewImage{Layers: []Layer{layer}, Config: json.RawMessage("[")}, BadImage},
			{NewImage{Layers: []Layer{layer}, Names: []Reference{mustParse(t, "oci:/x")}}, BadReference},
			{NewImage{Layers: []Layer{layer}, Names: []Reference{mustParse(t, "a@sha256:"+someHex("a"))}}, BadReference},
			{NewImage{Base: &Image{Name: "rootfs:/"}}, NotFound},
			{NewImage{Base: &Image{Digest: layer.DiffID}}, NotFound},
			{NewImage{Layers: []Layer{{DiffID: layer.Descriptor.Digest, Descriptor: layer.Descriptor}}}, NotFound},
		} {
			if _, err := s.CreateImage(t.Context(), c.o); !errors.Is(err, c.code) {
				t.Errorf("%+v: %v, want %s", c.o, err, c.code)
			}
		}
	})
}

// TestFullDiskIsToldOnce has no room for the blob: closing the compressor fails for the same reason as writing to it.
func TestFullDiskIsToldOnce(t *testing.T) {
	s := openStore(t)
	upper := t.TempDir()
	noise := make([]byte, 4<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(upper, "noise"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	d := &draft{store: s}
	err = d.compress(full, ocispec.MediaTypeImageLayerGzip, func(w io.Writer) error {
		_, err := d.packTo(t.Context(), w, NewLayer{Upper: upper, Take: true})
		return err
	})
	if !errors.Is(err, syscall.ENOSPC) || strings.Count(err.Error(), "no space") != 1 {
		t.Errorf("packing gives %v", err)
	}
}
