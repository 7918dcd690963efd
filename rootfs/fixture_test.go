package rootfs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// tree is the text form of a layer, a line for each entry: "dir PATH", "file PATH TEXT", "random PATH BYTES",
// "symlink PATH TARGET", "hardlink PATH TARGET", "device PATH". An owner may follow as "@UID" after the first word.
type tree []string

func (lines tree) tar(t testing.TB) []byte { return tarOf(t, lines) }

func tarOf(t testing.TB, lines tree) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, line := range lines {
		header, content := entryOf(t, line)
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func entryOf(t testing.TB, line string) (*tar.Header, []byte) {
	words := append(strings.SplitN(line, " ", 3), "")
	kind, owner, _ := strings.Cut(words[0], "@")
	h := &tar.Header{Name: words[1], Mode: 0o755, Linkname: words[2]}
	h.Uid, _ = strconv.Atoi(owner)
	var content []byte
	switch kind {
	case "dir":
		h.Typeflag = tar.TypeDir
	case "file":
		content, h.Linkname = []byte(words[2]), ""
	case "random":
		size, _ := strconv.Atoi(words[2])
		content, h.Linkname = make([]byte, size), ""
		rand.New(rand.NewSource(int64(size))).Read(content)
	case "symlink":
		h.Typeflag = tar.TypeSymlink
	case "hardlink":
		h.Typeflag = tar.TypeLink
	case "device":
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	default:
		t.Fatalf("bad line %q", line)
	}
	h.Size = int64(len(content))
	return h, content
}

// packing is how a layer is compressed, and what it is called.
type packing struct {
	pack func(testing.TB, []byte) []byte
	name types.MediaType
}

var (
	packedGzip = packing{gzipped, types.OCILayer}
	packedZstd = packing{zstded, types.OCILayerZStd}
	packedNone = packing{func(_ testing.TB, b []byte) []byte { return b }, types.OCIUncompressedLayer}
)

func gzipped(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// packedLayer has, unlike go-containerregistry's, the content and the type that a test gives it.
type packedLayer struct {
	v1.Layer
	diffID v1.Hash
}

func (l packedLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

func newLayer(t testing.TB, p packing, plain []byte) v1.Layer {
	t.Helper()
	sum := sha256.Sum256(plain)
	return packedLayer{static.NewLayer(p.pack(t, plain), p.name), v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
}

// image makes an OCI image for this machine.
func image(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	return imageFor(t, hostV1(), layers...)
}

func hostV1() v1.Platform {
	p := hostPlatform()
	return v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}

func imageFor(t testing.TB, p v1.Platform, layers ...v1.Layer) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Config: v1.Config{Env: []string{"A=b"}}, RootFS: v1.RootFS{Type: "layers"}})
	for _, l := range layers {
		if err == nil {
			img, err = mutate.Append(img, mutate.Addendum{Layer: l})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func imageOf(t testing.TB, p packing, trees ...tree) v1.Image {
	t.Helper()
	var layers []v1.Layer
	for _, lines := range trees {
		layers = append(layers, newLayer(t, p, lines.tar(t)))
	}
	return image(t, layers...)
}

// server is a registry on loopback whose answers can be spoiled.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []string // METHOD PATH[ RANGE]
	spoil func(w http.ResponseWriter, r *http.Request) bool
	inner http.Handler
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := quietServer()
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.close)
	return s
}

var silent = log.New(io.Discard, "", 0)

func quietServer() *server {
	return &server{inner: registry.New(registry.Logger(silent))}
}

func (s *server) close() {
	s.CloseClientConnections()
	s.Close()
	remote.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	spoil := s.spoil
	s.mu.Unlock()
	if spoil != nil && spoil(w, r) {
		return
	}
	s.inner.ServeHTTP(w, r)
}

// spoiled starts to spoil, and forgets what it has seen.
func (s *server) spoiled(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil, s.seen = f, nil
}

func (s *server) requests(part string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		if strings.Contains(r, part) {
			found = append(found, r)
		}
	}
	return found
}

func (s *server) host() string {
	return strings.TrimPrefix(strings.TrimPrefix(s.URL, "http://"), "https://")
}

// push returns the name of the image in the registry.
func (s *server) push(t testing.TB, repoTag string, what remote.Taggable) string {
	t.Helper()
	full := s.host() + "/" + repoTag
	tag, err := name.NewTag(full, name.Insecure)
	if err == nil {
		switch what := what.(type) {
		case v1.ImageIndex:
			err = remote.WriteIndex(tag, what, remote.WithTransport(s.Client().Transport))
		case v1.Image:
			err = remote.Write(tag, what, remote.WithTransport(s.Client().Transport))
		default:
			err = remote.Put(tag, what, remote.WithTransport(s.Client().Transport))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// listing is what a directory holds, a line for each entry.
func listing(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		line, err := lineOf(dir, path, d)
		lines = append(lines, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return lines
}

func lineOf(dir, path string, d fs.DirEntry) (string, error) {
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return "", err
	}
	switch {
	case d.IsDir():
		return "dir " + name, nil
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(path)
		return "symlink " + name + " " + target, err
	}
	content, err := os.ReadFile(path)
	return fmt.Sprintf("file %s %s", name, digest.FromBytes(content).Encoded()[:8]), err
}

// fsck fails unless all that has its final name is right, and returns what is under way.
func fsck(t *testing.T, s *Store) (leftovers []string) {
	t.Helper()
	for _, entry := range entries(s.path("blobs", "sha256")) {
		checkBlob(t, s.path("blobs", "sha256", entry.Name()))
	}
	for _, entry := range entries(s.path("layers", s.ids.Key, "sha256")) {
		checkLayer(t, s, digest.NewDigestFromEncoded("sha256", entry.Name()))
	}
	index, err := s.index()
	if err != nil {
		t.Error(err)
	}
	for _, d := range index.Manifests {
		checkEntry(t, s, imageName(d))
	}
	for _, dir := range []string{s.path("tmp"), s.path("partial"), s.path("locks"), s.path("layers", s.ids.Key, "tmp")} {
		for _, entry := range entries(dir) {
			leftovers = append(leftovers, filepath.Join(dir, entry.Name()))
		}
	}
	return leftovers
}

func checkBlob(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	if got := digest.FromBytes(content).Encoded(); got != filepath.Base(path) {
		t.Errorf("blob %s has the digest %s", path, got)
	}
}

// checkLayer looks for what each layer of the tests has last.
func checkLayer(t *testing.T, s *Store, diffID digest.Digest) {
	t.Helper()
	if _, ok := s.readLayer(diffID); !ok {
		t.Errorf("layer %s has no description", diffID)
	}
	if _, err := os.Stat(filepath.Join(s.lowerDir(diffID), "last")); err != nil {
		t.Errorf("layer %s is not complete: %v", diffID, err)
	}
}

func checkEntry(t *testing.T, s *Store, name string) {
	t.Helper()
	index, err := s.index()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range index.Manifests {
		manifest, _, err := s.read(d)
		if err != nil {
			t.Errorf("image %s: %v", name, err)
		}
		for _, l := range manifest.Layers {
			if !s.hasBlob(l) {
				t.Errorf("image %s: no blob %s", name, l.Digest)
			}
		}
	}
}
