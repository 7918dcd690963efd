package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"
)

// writeLayout makes a layout of images by name.
func writeLayout(t *testing.T, dir string, images map[string]v1.Image) {
	t.Helper()
	path, err := layout.Write(dir, empty.Index)
	for name, img := range images {
		if err == nil {
			err = path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name}))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pack makes a tar of a directory.
func packFiles(t *testing.T, dir, file string) {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), os.WriteFile(file, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestPullFromLayout(t *testing.T) {
	dir := t.TempDir()
	a, b := imageOf(t, packedGzip, smallTree), imageOf(t, packedZstd, smallTree, tree{"file last y"})
	writeLayout(t, dir+"/two", map[string]v1.Image{"a": a, "h.io/b:1": b})
	writeLayout(t, dir+"/one", map[string]v1.Image{"b": b})
	packFiles(t, dir+"/two", dir+"/two.tar")
	packFiles(t, dir+"/one", dir+"/one.tar")
	content, err := os.ReadFile(dir + "/one.tar")
	if err != nil {
		t.Fatal(err)
	}
	writeConf(t, dir+"/one.tar.gz", string(gzipped(t, content)))
	writeConf(t, dir+"/one.tar.zst", string(zstded(t, content)))
	writeConf(t, dir+"/cut.tar", string(content[:len(content)-2000]))
	writeConf(t, dir+"/cut.tar.gz", string(gzipped(t, content)[:500]))
	for _, c := range []struct {
		ref    string
		layers int
		code   Code
		text   string
	}{
		{"oci:two:a", 1, "", ""},
		{"oci:two:h.io/b:1", 2, "", ""},
		{"oci:one", 2, "", ""},
		{"oci:one:b", 2, "", ""},
		{"oci-archive:two.tar:a", 1, "", ""},
		{"oci-archive:one.tar", 2, "", ""},
		{"oci-archive:one.tar.gz", 2, "", ""},
		{"oci-archive:one.tar.zst", 2, "", ""},
		{"oci:two", 0, NotFound, "add one of these names after a colon: a, h.io/b:1"},
		{"oci:two:c", 0, NotFound, "only: a, h.io/b:1"},
		{"oci:none", 0, NotFound, "check the path"},
		{"oci:two.tar", 0, NotFound, "check the path"},
		{"oci-archive:none", 0, NotFound, "check the path"},
		{"oci-archive:one", 0, BadArchive, "not a regular file"},
		{"oci-archive:cut.tar", 0, BadArchive, "cut.tar"},
		{"oci-archive:cut.tar.gz", 0, BadArchive, "cut.tar.gz"},
		{"docker-archive:one.tar", 0, NotFound, "manifest.json"},
	} {
		t.Run(c.ref, func(t *testing.T) {
			s := openStore(t)
			ref := mustParse(t, c.ref).WithDir(dir)
			img, err := s.Pull(context.Background(), ref, PullOptions{})
			if c.code != "" {
				if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v, want %s with %q", err, c.code, c.text)
				}
			} else if err != nil || len(img.Layers) != c.layers || img.Name != ref.String() {
				t.Errorf("got %+v, %v", img, err)
			}
			if left := fsck(t, s); left != nil {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestPullFromDockerArchive(t *testing.T) {
	dir := t.TempDir()
	a, b := imageOf(t, packedGzip, smallTree), imageOf(t, packedGzip, smallTree, tree{"file last y"})
	tag := func(s string) name.Reference {
		ref, err := name.NewTag(s)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	// go-containerregistry writes compressed layers, unlike Docker.
	if err := tarball.MultiRefWriteToFile(dir+"/two.tar", map[name.Reference]v1.Image{tag("a:1"): a, tag("h.io/b"): b}); err != nil {
		t.Fatal(err)
	}
	writeDockerArchive(t, dir+"/old.tar", smallTree, smallTree)
	for _, c := range []struct {
		ref    string
		layers int
		code   Code
		text   string
	}{
		{"docker-archive:two.tar:a:1", 1, "", ""},
		{"docker-archive:two.tar:h.io/b", 2, "", ""},
		{"docker-archive:two.tar:h.io/b:latest", 2, "", ""},
		{"docker-archive:old.tar", 2, "", ""},
		{"docker-archive:two.tar", 0, NotFound, "it has 2 images"},
		{"docker-archive:two.tar:a:2", 0, NotFound, "only: "},
		{"docker-archive:two.tar:A B", 0, BadReference, "lower case"},
	} {
		t.Run(c.ref, func(t *testing.T) {
			s := openStore(t)
			img, err := s.Pull(context.Background(), mustParse(t, c.ref).WithDir(dir), PullOptions{})
			if c.code != "" {
				if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v, want %s with %q", err, c.code, c.text)
				}
				return
			}
			if err != nil || len(img.Layers) != c.layers {
				t.Fatalf("got %+v, %v", img, err)
			}
			if left := fsck(t, s); left != nil {
				t.Errorf("left %q", left)
			}
		})
	}
}

// writeDockerArchive writes what `docker save` wrote until version 24: a directory for each layer, and a symlink for a
// layer that occurs twice.
func writeDockerArchive(t *testing.T, path string, first, second tree) {
	t.Helper()
	layer := string(first.tar(t))
	id := digest.FromString(layer)
	p := hostPlatform()
	config, err := json.Marshal(map[string]any{"os": p.OS, "architecture": p.Architecture,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{id, digest.FromBytes(second.tar(t))}}})
	if err != nil {
		t.Fatal(err)
	}
	writeConf(t, path, string(tree{
		"dir 1", "file 1/layer.tar " + layer, "dir 2", "symlink 2/layer.tar ../1/layer.tar", "file c.json " + string(config),
		`file manifest.json [{"Config":"c.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar"]}]`,
	}.tar(t)))
}

func TestImportOfHostileArchives(t *testing.T) {
	manifest := `file manifest.json [{"Config":"c.json","Layers":["l"]}]`
	config := `file c.json {"architecture":"` + hostPlatform().Architecture + `","os":"linux","rootfs":{"diff_ids":["` + someDigest + `"]}}`
	for what, lines := range map[string]tree{
		"loop of links":       {manifest, config, "symlink l l"},
		"link to the machine": {manifest, config, "symlink l ../../../../../../../etc/passwd"},
		"hard link":           {manifest, config, "hardlink l /etc/passwd"},
		"device":              {manifest, config, "device l"},
		"no layer":            {manifest, config},
		"no configuration":    {manifest, "file l x"},
		"wrong content":       {manifest, config, "file l x"},
		"no layers named":     {`file manifest.json [{"Config":"c.json"}]`, config},
		"no list":             {`file manifest.json {}`},
		"empty":               {},
	} {
		t.Run(what, func(t *testing.T) {
			s, path := openStore(t), filepath.Join(t.TempDir(), "a.tar")
			writeConf(t, path, string(lines.tar(t)))
			_, err := s.Pull(context.Background(), mustParse(t, "docker-archive:"+path), PullOptions{})
			if coded, ok := codeOf(err); !ok || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, %+v", err, coded)
			}
			if left := fsck(t, s); left != nil {
				t.Errorf("left %q", left)
			}
			if list, err := s.List(); err != nil || list != nil {
				t.Errorf("list %+v, %v", list, err)
			}
		})
	}
}

func TestImportAgainWhenChanged(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	ref := "oci-archive:" + dir + "/x.tar"
	for i, lines := range []tree{{"file last 1"}, {"file last 2"}} {
		layout := filepath.Join(dir, string(rune('a'+i)))
		writeLayout(t, layout, map[string]v1.Image{"x": imageOf(t, packedGzip, lines)})
		packFiles(t, layout, dir+"/x.tar")
		img := pullNow(t, s, ref, PullOptions{})
		if content, err := os.ReadFile(img.Layers[0] + "/last"); err != nil || string(content) != lines[0][len("file last "):] {
			t.Errorf("%q, %v", content, err)
		}
	}
	var events []Event
	pullNow(t, s, ref, PullOptions{Progress: func(e Event) { events = append(events, e) }})
	if events != nil {
		t.Errorf("unchanged, but %+v", events)
	}
	if list, err := s.List(); err != nil || len(list) != 1 || list[0].Name != ref || list[0].Repository != "<none>" {
		t.Errorf("list %+v, %v", list, err)
	}
}
