package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// save returns the archive.
func save(t *testing.T, s *Store, o SaveOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.Save(context.Background(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// load reads an archive from a file, or if it has no name from a pipe.
func load(t *testing.T, s *Store, archive []byte, o LoadOptions) ([]*Image, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return s.Load(context.Background(), file, o)
}

// stored is a store with two images, of which the first has two names; they share a layer.
func stored(t *testing.T) (s *Store, one, two *Image) {
	t.Helper()
	r, s := newServer(t), openStore(t)
	one = pullNow(t, s, r.push(t, "x:1", imageOf(t, packedZstd, smallTree)), PullOptions{})
	two = pullNow(t, s, r.push(t, "y:1", imageOf(t, packedZstd, smallTree, bigTree)), PullOptions{})
	for source, target := range map[string]string{one.Name: "one:1", two.Name: "h.io/two:2"} {
		if err := s.Tag(context.Background(), source, mustParse(t, target)); err != nil {
			t.Fatal(err)
		}
	}
	return s, one, two
}

func loadedNames(images []*Image) (names []string) {
	for _, i := range images {
		names = append(names, i.Name)
	}
	return names
}

func TestSaveAndLoad(t *testing.T) {
	s, one, two := stored(t)
	all := []string{one.Name, "one:1", "h.io/two:2"}
	want := []string{one.Name, "docker.io/library/one:1", "h.io/two:2"}
	archives := map[string][]byte{
		"docker": save(t, s, SaveOptions{Images: all}), "oci": save(t, s, SaveOptions{Images: all, Format: SaveOCI}),
	}
	archives["gzip"], archives["zstd"] = gzipped(t, archives["docker"]), zstded(t, archives["oci"])
	if !bytes.Equal(archives["docker"], save(t, s, SaveOptions{Images: all})) {
		t.Error("a second archive is another one")
	}
	for what, archive := range archives {
		t.Run(what, func(t *testing.T) {
			to := openStore(t)
			images, err := load(t, to, archive, LoadOptions{Name: "a.tar"})
			if err != nil || !slices.Equal(loadedNames(images), want) {
				t.Fatalf("%q, %v", loadedNames(images), err)
			}
			if images[0].Digest != one.Digest || images[2].Digest != two.Digest || len(images[2].Layers) != 2 {
				t.Errorf("%+v", images)
			}
			if left := fsck(t, to); left != nil {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestSaveWithoutNameAndToDirectory(t *testing.T) {
	s, one, _ := stored(t)
	images, err := load(t, openStore(t), save(t, s, SaveOptions{Images: []string{one.ID.Encoded()[:12]}}), LoadOptions{})
	if err != nil || len(images) != 1 || images[0].Name != one.Digest.String() {
		t.Errorf("%q, %v", loadedNames(images), err)
	}
	dir := t.TempDir()
	if err := s.SaveDir(context.Background(), dir, SaveOptions{Images: []string{"one:1"}, Format: SaveOCIDir}); err != nil {
		t.Fatal(err)
	}
	to := openStore(t)
	got := pullNow(t, to, "oci:"+dir+":docker.io/library/one:1", PullOptions{})
	if got.Digest != one.Digest {
		t.Errorf("%+v", got)
	}
	file, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if images, err = openStore(t).Load(context.Background(), file, LoadOptions{}); err != nil || !slices.Equal(loadedNames(images), []string{"docker.io/library/one:1"}) {
		t.Errorf("of a directory: %q, %v", loadedNames(images), err)
	}
}

// TestSaveIsForOthers reads the older form with go-containerregistry.
func TestSaveIsForOthers(t *testing.T) {
	s, one, _ := stored(t)
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, save(t, s, SaveOptions{Images: []string{"one:1", "h.io/two:2"}}), 0o600); err != nil {
		t.Fatal(err)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil || len(manifest) != 2 || !slices.Equal(manifest[0].RepoTags, []string{"one:1"}) || !slices.Equal(manifest[1].RepoTags, []string{"h.io/two:2"}) {
		t.Fatalf("%+v, %v", manifest, err)
	}
	if manifest[0].Config != "blobs/sha256/"+one.ID.Encoded() || len(manifest[1].Layers) != 2 {
		t.Errorf("%+v", manifest)
	}
	headers := tar.NewReader(bytes.NewReader(save(t, s, SaveOptions{Images: []string{"one:1"}})))
	for {
		h, err := headers.Next()
		if err != nil {
			break
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%+v", h)
		}
	}
}

func TestSaveErrors(t *testing.T) {
	s, one, _ := stored(t)
	for _, c := range []struct {
		o    SaveOptions
		code Code
	}{
		{SaveOptions{Images: []string{"none"}}, NotFound}, {SaveOptions{Images: []string{"one:1"}, Platform: "linux/s390x"}, NotFound},
		{SaveOptions{Images: []string{"one:1"}, Format: "zip"}, BadReference},
	} {
		if err := s.Save(context.Background(), io.Discard, c.o); !errors.Is(err, c.code) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	manifest, _, err := s.read(mustFind(t, s, one.Name))
	if err != nil {
		t.Fatal(err)
	}
	path := s.blobPath(manifest.Layers[0].Digest)
	flip(t, path)
	if err := s.Save(context.Background(), io.Discard, SaveOptions{Images: []string{"one:1"}}); !errors.Is(err, DigestMismatch) {
		t.Errorf("damaged: %v", err)
	}
}

func TestSaveAndLoadIndex(t *testing.T) {
	host, other := hostV1(), v1.Platform{OS: "linux", Architecture: "s390x"}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: imageFor(t, host, newLayer(t, packedGzip, bigTree.tar(t))), Descriptor: v1.Descriptor{Platform: &host}},
		mutate.IndexAddendum{Add: imageFor(t, other, newLayer(t, packedGzip, smallTree.tar(t))), Descriptor: v1.Descriptor{Platform: &other}})
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", index)
	pullNow(t, s, name, PullOptions{})
	there := pullNow(t, s, name, PullOptions{Platform: "linux/s390x", Policy: Always})
	to := openStore(t)
	archive := save(t, s, SaveOptions{Images: []string{name}})
	images, err := load(t, to, archive, LoadOptions{})
	if err != nil || len(images) != 2 {
		t.Fatalf("%q, %v", loadedNames(images), err)
	}
	if !bytes.Equal(archive, save(t, to, SaveOptions{Images: []string{name}})) {
		t.Error("what was loaded is saved otherwise")
	}
	one := openStore(t)
	if images, err = load(t, one, archive, LoadOptions{Platform: "linux/s390x"}); err != nil || len(images) != 1 || images[0].Digest != there.Digest {
		t.Errorf("one platform: %q, %v", loadedNames(images), err)
	}
	if _, err = load(t, openStore(t), archive, LoadOptions{Platform: "linux/riscv64"}); !errors.Is(err, NoPlatform) {
		t.Errorf("no platform: %v", err)
	}
}

// TestLoadUnderstands reads what other tools write.
func TestLoadUnderstands(t *testing.T) {
	a := imageOf(t, packedGzip, smallTree)
	old := filepath.Join(t.TempDir(), "old.tar")
	writeDockerArchive(t, old, smallTree, smallTree)
	content, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	to := openStore(t)
	images, err := load(t, to, content, LoadOptions{Name: "old.tar"})
	if err != nil || len(images) == 0 {
		t.Fatalf("docker-archive: %v", err)
	}
	fsck(t, to)
	for name, want := range map[string]string{"latest": "", "1.2": "", "h.io/x:1": "h.io/x:1", "x:1": "docker.io/library/x:1"} {
		dir := t.TempDir()
		writeLayout(t, dir+"/l", map[string]v1.Image{name: a})
		packFiles(t, dir+"/l", dir+"/l.tar")
		content, err := os.ReadFile(dir + "/l.tar")
		if err != nil {
			t.Fatal(err)
		}
		images, err := load(t, openStore(t), content, LoadOptions{})
		if err != nil || len(images) != 1 || want != "" && images[0].Name != want || want == "" && !strings.HasPrefix(images[0].Name, "sha256:") {
			t.Errorf("a layout with %s: %q, %v", name, loadedNames(images), err)
		}
	}
}

// TestLoadTakesNamesOfEither has the names in manifest.json alone, as some versions of BuildKit write them.
func TestLoadTakesNamesOfEither(t *testing.T) {
	s, _, _ := stored(t)
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(save(t, s, SaveOptions{Images: []string{"one:1"}})))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		files[h.Name] = mustRead(t, r)
	}
	var index ocispec.Index
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	index.Manifests[0].Annotations = nil
	files["index.json"] = mustMarshal(index)
	images, err := load(t, openStore(t), tarOfFiles(t, files), LoadOptions{})
	if err != nil || !slices.Equal(loadedNames(images), []string{"docker.io/library/one:1"}) {
		t.Errorf("%q, %v", loadedNames(images), err)
	}
}

func tarOfFiles(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLoadRefuses(t *testing.T) {
	s, one, _ := stored(t)
	archive := save(t, s, SaveOptions{Images: []string{"one:1"}})
	for _, c := range []struct {
		what    string
		archive []byte
		code    Code
	}{
		{"nothing", nil, BadArchive},
		{"no tar", bytes.Repeat([]byte("hello"), 1000), BadArchive},
		{"no images", tarOf(t, tree{"file x y"}), BadArchive},
		{"an empty list", tarOf(t, tree{"file manifest.json []"}), NotFound},
		{"no list", tarOf(t, tree{"file manifest.json {"}), BadArchive},
		{"no index", tarOf(t, tree{"file index.json {"}), BadImage},
		{"cut", archive[:len(archive)-3000], BadArchive},
		{"cut gzip", gzipped(t, archive)[:300], BadArchive},
		{"outside", tarOf(t, tree{`file manifest.json [{"Config":"../../../etc/passwd","Layers":[]}]`}), NotFound},
		{"another blob", bytes.Replace(archive, []byte(`"architecture"`), []byte(`"architecturE"`), 1), DigestMismatch},
	} {
		to := openStore(t)
		images, err := load(t, to, c.archive, LoadOptions{Name: "a.tar"})
		if !errors.Is(err, c.code) || !strings.HasPrefix(err.Error(), "load a.tar: ") || strings.ContainsAny(err.Error(), "\n\x1b") || images != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if left := fsck(t, to); left != nil {
			t.Errorf("%s: left %q", c.what, left)
		}
		if list, err := to.List(); err != nil || list != nil {
			t.Errorf("%s: %+v, %v", c.what, list, err)
		}
	}
	fifo, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = w.Write(archive)
		_ = w.Close()
	}()
	if images, err := openStore(t).Load(context.Background(), fifo, LoadOptions{}); err != nil || images[0].Digest != one.Digest {
		t.Errorf("a pipe: %v", err)
	}
}

func TestLoadIntoFullStore(t *testing.T) {
	s, _, two := stored(t)
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, save(t, s, SaveOptions{Images: []string{two.Name}}), 0o644); err != nil {
		t.Fatal(err)
	}
	got := child{Dir: t.TempDir(), Load: path, Mount: "tmpfs", MountData: "size=3m"}.run(t)
	if got.Code != NoSpace || !strings.Contains(got.Error, "BIVOUAC_HOME") || strings.Contains(got.Error, "\n") {
		t.Errorf("%+v", got)
	}
}

// TestLoadKilledAtEveryStep is [TestKilledAtEveryStep] for an archive.
func TestLoadKilledAtEveryStep(t *testing.T) {
	r, from := newServer(t), openStore(t)
	name := pullNow(t, from, r.push(t, "k:1", imageOf(t, packedGzip, killTrees...)), PullOptions{}).Name
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, save(t, from, SaveOptions{Images: []string{name}}), 0o600); err != nil {
		t.Fatal(err)
	}
	all := child{Dir: openStore(t).Dir(), Load: path}.run(t)
	if len(all.Layers) != 3 {
		t.Fatalf("child: %+v", all)
	}
	for i := 0; i < len(all.Steps); i += 3 { // a third of them: the steps are those of a pull
		s := openStore(t)
		_ = child{Dir: s.Dir(), Load: path, KillAt: int64(i + 1)}.start(t).Wait()
		fsck(t, s)
		img, err := loadChild(s, path)
		if err != nil || len(img.Layers) != 3 || !complete(img) {
			t.Fatalf("killed at step %d, %q: %+v, %v", i+1, all.Steps[i], img, err)
		}
		if left := fsck(t, s); left != nil {
			t.Errorf("killed at step %d, %q: left %q", i+1, all.Steps[i], left)
		}
	}
}

// FuzzLoad reads archives with hostile lists of images.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l.tar"]}]`), []byte(`{"schemaVersion":2,"manifests":[]}`), []byte(`{"rootfs":{"diff_ids":[]}}`))
	f.Add([]byte(`[]`), []byte(`{"manifests":[{"digest":"`+someDigest+`","size":2,"annotations":{"io.containerd.image.name":"x"}}]}`), []byte(`{}`))
	f.Add([]byte(`null`), []byte(`null`), []byte(`null`))
	f.Fuzz(func(t *testing.T, manifest, index, blob []byte) {
		files := map[string][]byte{"manifest.json": manifest, "c.json": blob, "l.tar": nil, blobName(describe("", blob).Digest): blob}
		if len(index) > 0 {
			files["index.json"] = index
		}
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(path, tarOfFiles(t, files), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		_, _ = openStoreIn(t, filepath.Join(t.TempDir(), "store")).Load(context.Background(), file, LoadOptions{Name: "a.tar"})
	})
}
