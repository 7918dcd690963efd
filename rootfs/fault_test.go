package rootfs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// bigTree does not compress, so that a download can break off in the middle.
var bigTree = tree{"dir d", "random d/random 2000000", "file last x"}

// isBlob matches the download of the larger blobs: layers, not configurations.
func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// cutAfter lets n bytes of a body pass.
type cutAfter struct {
	http.ResponseWriter
	n int
}

func (c *cutAfter) Write(b []byte) (int, error) {
	if len(b) >= c.n {
		_, _ = c.ResponseWriter.Write(b[:c.n])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.n -= len(b)
	return c.ResponseWriter.Write(b)
}

func TestPullContinuesWhatBrokeOff(t *testing.T) {
	for _, c := range []struct {
		what   string
		ranges bool
	}{{"with ranges", true}, {"without ranges", false}} {
		t.Run(c.what, func(t *testing.T) {
			r, s := newServer(t), openStore(t)
			name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree))
			cuts := 0
			r.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
				if !c.ranges {
					req.Header.Del("Range")
				}
				if !isBlob(req) || cuts == 4 {
					return false
				}
				cuts++ // the first is for the configuration, which has less bytes
				after := 500000
				if !c.ranges {
					after *= max(1, cuts-1)
				}
				r.inner.ServeHTTP(&cutAfter{w, after}, req)
				return true
			})
			var retries int
			pullNow(t, s, name, PullOptions{Progress: func(e Event) {
				if e.Kind == Retry {
					retries++
				}
			}})
			if retries != 3 {
				t.Errorf("%d retries", retries)
			}
			if left := fsck(t, s); left != nil {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestPullContinuesOtherProcess(t *testing.T) {
	for _, c := range []struct {
		what   string
		damage func(t *testing.T, path string)
		whole  bool // downloaded again from the start, too
	}{
		{"intact", func(*testing.T, string) {}, false},
		{"damaged", func(t *testing.T, path string) {
			if err := os.WriteFile(path, make([]byte, 1000000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"too long", func(t *testing.T, path string) {
			if err := os.Truncate(path, 100000000); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			r, s := newServer(t), openStore(t)
			name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree))
			r.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
				if isBlob(req) && req.Header.Get("Range") == "" {
					r.inner.ServeHTTP(&cutAfter{w, 1000000}, req)
				}
				return isBlob(req)
			})
			ctx, cancel := context.WithCancel(context.Background())
			_, err := s.Pull(ctx, mustParse(t, name), PullOptions{Progress: func(e Event) {
				if e.Kind == Retry {
					cancel()
				}
			}})
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			partial := entries(s.path("partial"))
			if len(partial) != 1 {
				t.Fatalf("%d partial files", len(partial))
			}
			c.damage(t, s.path("partial", partial[0].Name()))
			r.spoiled(nil)
			pullNow(t, s, name, PullOptions{})
			whole := len(r.requests("/blobs/")) - len(r.requests("bytes="))
			if want := map[bool]int{false: 1, true: 2}[c.whole]; whole > want { // one is the configuration
				t.Errorf("requests %q", r.requests("/blobs/"))
			}
			if left := fsck(t, s); left != nil {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestPullWaitsForBusyRegistry(t *testing.T) {
	for _, status := range []int{429, 500, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r, s := newServer(t), openStore(t)
			name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
			tries := map[string]int{}
			r.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
				tries[req.URL.Path]++
				if tries[req.URL.Path] > 3 {
					return false
				}
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(status)
				return true
			})
			pullNow(t, s, name, PullOptions{})
		})
	}
}

func TestPullTellsWhy(t *testing.T) {
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	blobs := func(change func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				change(w, r)
			}
			return isBlob(r)
		}
	}
	for _, c := range []struct {
		what  string
		spoil func(http.ResponseWriter, *http.Request) bool
		o     PullOptions
		code  Code
		text  string
	}{
		{"unknown", answer(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\u001b[31m\nunknown"}]}`), PullOptions{}, NotFound, "not found: manifest [31m unknown; check name and tag"},
		{"no page", answer(404, "<html>nothing</html>"), PullOptions{}, NotFound, "not found: Not Found"},
		{"refused", answer(401, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`), PullOptions{}, Unauthorized, "bivouac login"},
		{"denied", answer(403, `{"errors":[{"code":"DENIED"}]}`), PullOptions{}, Unauthorized, "DENIED"},
		{"limited", answer(429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`), PullOptions{}, RateLimited, "slow down"},
		{"broken", answer(501, "no"), PullOptions{}, Unreachable, "Not Implemented"},
		{"not json", answer(200, "hello"), PullOptions{}, BadImage, "read manifest"},
		{"schema 1", answer(200, `{"schemaVersion":1,"name":"x"}`), PullOptions{}, BadImage, "schema 1"},
		{"artifact", answer(200, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"},"layers":[]}`), PullOptions{}, BadImage, "only container images"},
		{"bad digest", answer(200, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:../../../etc/passwd"},"layers":[]}`), PullOptions{}, BadImage, "digest"},
		{"ambiguous", answer(200, `{"schemaVersion":2,"config":{},"manifests":[]}`), PullOptions{}, BadImage, "at once"},
		{"wrong content", blobs(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 3000000)) }), PullOptions{}, DigestMismatch, "has the digest"},
		{"empty content", blobs(func(http.ResponseWriter, *http.Request) {}), PullOptions{}, Truncated, "ends after 0 of"},
		{"gone", blobs(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }), PullOptions{}, NotFound, "not found"},
		{"too large", nil, PullOptions{MaxUnpackedSize: 100000}, TooLarge, "--max-unpacked-size"},
		{"platform", nil, PullOptions{Platform: "linux/s390x"}, NoPlatform, "only " + platformName(hostPlatform())},
		{"no platform", nil, PullOptions{Platform: "a/b/c/d"}, NoPlatform, "os/arch"},
	} {
		t.Run(c.what, func(t *testing.T) {
			r, s := newServer(t), openStore(t)
			name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree))
			r.spoiled(c.spoil)
			_, err := s.Pull(context.Background(), mustParse(t, name), c.o)
			if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.text) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error %q, want %s with %q", err, c.code, c.text)
			}
			if left := fsck(t, s); len(left) > 0 && c.code != Truncated {
				t.Errorf("left %q", left)
			}
			if s.path("layers") != "" && len(entries(s.path("layers", "single", "sha256"))) > 0 {
				t.Error("a layer is there")
			}
		})
	}
}

// oddLayer is a layer with another diff ID than its content has.
func oddLayer(t *testing.T) v1.Layer {
	l := newLayer(t, packedGzip, bigTree.tar(t)).(packedLayer)
	l.diffID.Hex = strings.Repeat("0", 64)
	return l
}

func TestPullRefusesBadLayers(t *testing.T) {
	whole := bigTree.tar(t)
	for _, c := range []struct {
		what  string
		layer v1.Layer
		code  Code
	}{
		{"other diff ID", oddLayer(t), DigestMismatch},
		{"cut tar", newLayer(t, packedGzip, whole[:1000000]), BadArchive},
		{"cut gzip", newLayer(t, packing{func(t testing.TB, b []byte) []byte { return gzipped(t, b)[:1000000] }, types.OCILayer}, whole), BadArchive},
		{"cut zstd", newLayer(t, packing{func(t testing.TB, b []byte) []byte { return zstded(t, b)[:1000000] }, types.OCILayer}, whole), BadArchive},
		{"no tar", newLayer(t, packedNone, []byte(strings.Repeat("hello ", 1000))), BadArchive},
		{"outside", newLayer(t, packedGzip, tree{"file ../x y"}.tar(t)), BadArchive},
	} {
		t.Run(c.what, func(t *testing.T) {
			r, s := newServer(t), openStore(t)
			name := r.push(t, "x:1", image(t, c.layer))
			_, err := s.Pull(context.Background(), mustParse(t, name), PullOptions{})
			if !errors.Is(err, c.code) {
				t.Errorf("error %v, want %s", err, c.code)
			}
			if left := fsck(t, s); len(left) > 0 {
				t.Errorf("left %q", left)
			}
			if found := entries(s.path("layers", "single", "sha256")); len(found) > 0 {
				t.Error("a layer is there")
			}
		})
	}
}

func TestPullReplacesDamagedBlob(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree))
	img := pullNow(t, s, name, PullOptions{})
	manifest, _, err := s.read(mustFind(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	path := s.blobPath(manifest.Layers[0].Digest)
	flip(t, path)
	if err := removeIfThere(filepath.Dir(img.Layers[0])); err != nil {
		t.Fatal(err)
	}
	pullNow(t, s, name, PullOptions{})
	fsck(t, s)
}

func TestPullRefusedConnection(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	r.close()
	_, err := s.Pull(context.Background(), mustParse(t, name), PullOptions{})
	if !errors.Is(err, Unreachable) || !strings.Contains(err.Error(), r.host()) {
		t.Errorf("error %v", err)
	}
}

func TestPullEndsWithContext(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree))
	stuck := make(chan struct{})
	defer close(stuck)
	ctx, cancel := context.WithCancel(context.Background())
	r.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
		if isBlob(req) {
			w.(http.Flusher).Flush()
			cancel()
			select {
			case <-stuck:
			case <-req.Context().Done():
			}
		}
		return isBlob(req)
	})
	begin := time.Now()
	if _, err := s.Pull(ctx, mustParse(t, name), PullOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if time.Since(begin) > 5*time.Second {
		t.Error("took too long")
	}
}

func TestPullForeignLayer(t *testing.T) {
	r := newServer(t)
	content := bigTree.tar(t)
	l := newLayer(t, packing{gzipped, types.OCIRestrictedLayer}, content)
	img, err := mutate.Append(image(t), mutate.Addendum{Layer: l, MediaType: types.OCIRestrictedLayer,
		URLs: []string{"https://127.0.0.1:1/none", r.URL + "/elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	name := r.push(t, "x:1", img)
	r.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/elsewhere" {
			return false
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("credentials are sent")
		}
		_, _ = w.Write(gzipped(t, content))
		return true
	})
	s := openStore(t)
	pullNow(t, s, name, PullOptions{})
	fsck(t, s)
}

func TestMayLead(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{{"a.test", "b.test", true}, {"a.test", "127.0.0.1:80", false}, {"a.test", "localhost", false}, {"localhost:1", "127.0.0.1:2", true}} {
		if err := mayLead(c.from, c.to); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
