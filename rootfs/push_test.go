package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// pushTag tags an image and pushes it by that name.
func pushTag(t *testing.T, s *Store, source, target string, o PushOptions) (Pushed, error) {
	t.Helper()
	ref := mustParse(t, target)
	if err := s.Tag(context.Background(), source, ref); err != nil {
		t.Fatal(err)
	}
	return s.Push(context.Background(), ref, o)
}

// served is the digest that a registry gives for a name, after checking that all of the image can be had.
func served(t *testing.T, full string) digest.Digest {
	t.Helper()
	ref, err := name.ParseReference(full, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	if desc.MediaType.IsImage() {
		img, err := desc.Image()
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, img)
	}
	return digest.Digest(desc.Digest.String())
}

func checkImage(t *testing.T, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r) // which checks the digest
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPushKeepsDigests(t *testing.T) {
	docker := mutate.ConfigMediaType(mutate.MediaType(imageOf(t, packing{gzipped, types.DockerLayer}, bigTree, smallTree), types.DockerManifestSchema2), types.DockerConfigJSON)
	for what, img := range map[string]v1.Image{"OCI": imageOf(t, packedZstd, bigTree, smallTree), "Docker": docker} {
		t.Run(what, func(t *testing.T) {
			from, to, s := newServer(t), newServer(t), openStore(t)
			pulled := pullNow(t, s, from.push(t, "x:1", img), PullOptions{})
			events := map[EventKind]int{}
			target := to.host() + "/team/y:2"
			pushed, err := pushTag(t, s, pulled.Name, target, PushOptions{Progress: func(e Event) { events[e.Kind]++ }})
			if err != nil || pushed.Digest != pulled.Digest || pushed.ID != pulled.ID || pushed.Platform != "" {
				t.Fatalf("%+v, %v", pushed, err)
			}
			if got := served(t, target); got != pulled.Digest {
				t.Errorf("the registry has %s, the store %s", got, pulled.Digest)
			}
			if events[Start] != 3 || events[Done] != 3 || events[Exists] != 0 {
				t.Errorf("events %v", events)
			}
			to.spoiled(nil)
			if _, err := s.Push(context.Background(), mustParse(t, target), PushOptions{}); err != nil {
				t.Fatal(err)
			}
			if sent := to.requests("PATCH"); sent != nil {
				t.Errorf("the second push sends %q", sent)
			}
			fsck(t, s)
		})
	}
}

func TestPushTakesBlobsFromOtherRepositories(t *testing.T) {
	r, s := newServer(t), openStore(t)
	pulled := pullNow(t, s, r.push(t, "base:1", imageOf(t, packedGzip, bigTree)), PullOptions{})
	r.spoiled(func(w http.ResponseWriter, req *http.Request) bool { // the registry of the tests shares all blobs, but mounts none
		switch query := req.URL.Query(); {
		case req.Method == http.MethodHead && strings.Contains(req.URL.Path, "/blobs/"):
			w.WriteHeader(http.StatusNotFound)
		case req.URL.Path == "/v2/other/blobs/uploads/" && query.Get("from") == "base" && strings.HasPrefix(query.Get("mount"), "sha256:"):
			w.WriteHeader(http.StatusCreated)
		default:
			return false
		}
		return true
	})
	var told []string
	_, err := pushTag(t, s, pulled.Name, r.host()+"/other:1", PushOptions{Progress: func(e Event) { told = append(told, e.Text) }})
	if err != nil {
		t.Fatal(err)
	}
	if sent := r.requests("PATCH"); sent != nil {
		t.Errorf("sends %q", sent)
	}
	if !slices.Contains(told, "Mounted from base") {
		t.Errorf("told %q", told)
	}
}

func TestPushWhereMountingIsRefused(t *testing.T) {
	for _, status := range []int{http.StatusAccepted, http.StatusUnauthorized, http.StatusNotFound} {
		r, s := newServer(t), openStore(t)
		pulled := pullNow(t, s, r.push(t, "base:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
		var mounts atomic.Int64
		r.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			if !req.URL.Query().Has("mount") {
				return false
			}
			mounts.Add(1)
			if status == http.StatusAccepted {
				req.URL.RawQuery = ""
				return false
			}
			w.WriteHeader(status)
			return true
		})
		if _, err := pushTag(t, s, pulled.Name, r.host()+"/other:1", PushOptions{}); err != nil || mounts.Load() != 2 {
			t.Errorf("%d: %d mounts, %v", status, mounts.Load(), err)
		}
	}
}

// TestPushGoesOn spoils a push in ways that another try, or another push, mends.
func TestPushGoesOn(t *testing.T) {
	for what, spoil := range map[string]func(n int, w http.ResponseWriter, req *http.Request) bool{
		"cut connections": func(n int, _ http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodPatch || n > 4 {
				return false
			}
			_, _ = io.CopyN(io.Discard, req.Body, 500000)
			panic(http.ErrAbortHandler)
		},
		"busy": func(n int, w http.ResponseWriter, req *http.Request) bool {
			if n > 5 || req.Method == http.MethodGet {
				return false
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader([]int{429, 500, 502, 503}[n/2%4])
			return true
		},
		"uploads forgotten": func(n int, w http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodPut || !req.URL.Query().Has("digest") || n > 20 {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`)
			return true
		},
	} {
		t.Run(what, func(t *testing.T) {
			from, to, s := newServer(t), newServer(t), openStore(t)
			pulled := pullNow(t, s, from.push(t, "x:1", imageOf(t, packedGzip, bigTree, smallTree)), PullOptions{})
			var n atomic.Int64
			to.spoiled(func(w http.ResponseWriter, req *http.Request) bool { return spoil(int(n.Add(1)), w, req) })
			target := to.host() + "/y:1"
			if _, err := pushTag(t, s, pulled.Name, target, PushOptions{}); err != nil {
				t.Fatal(err)
			}
			to.spoiled(nil)
			if got := served(t, target); got != pulled.Digest {
				t.Errorf("the registry has %s", got)
			}
		})
	}
}

// TestPushTellsWhy ends pushes for good. The tag keeps its meaning, and the next push works.
func TestPushTellsWhy(t *testing.T) {
	on := func(method, part string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method != method || !strings.Contains(req.URL.Path, part) {
				return false
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	for _, c := range []struct {
		what  string
		spoil func(http.ResponseWriter, *http.Request) bool
		code  Code
		text  string
	}{
		{"manifest fails", on("PUT", "/manifests/1", 500, "oh"), Unreachable, "Internal Server Error"},
		{"manifest refused", on("PUT", "/manifests/1", 400, `{"errors":[{"code":"MANIFEST_INVALID","message":"no\nway"}]}`), Unreachable, "no way"},
		{"too large", on("PATCH", "/blobs/", 413, "<html>"), TooLarge, "of that size"},
		{"may not push", on("POST", "/blobs/", 403, `{"errors":[{"code":"DENIED","message":"read only"}]}`), Unauthorized, "read only; log in with `bivouac login"},
		{"logged out in between", on("PATCH", "/blobs/", 401, ""), Unauthorized, "bivouac login"},
		{"no repository", on("POST", "/blobs/", 404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`), NotFound, "NAME_UNKNOWN"},
		{"always cut", func(_ http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPatch {
				panic(http.ErrAbortHandler)
			}
			return false
		}, Unreachable, "ask registry"},
		{"nowhere to go on", on("POST", "/blobs/", 202, ""), Unreachable, "does not say where"},
		{"other digest", func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") {
				w.Header().Set("Docker-Content-Digest", someDigest)
				w.WriteHeader(http.StatusCreated)
				return true
			}
			return false
		}, DigestMismatch, "calls it"},
	} {
		t.Run(c.what, func(t *testing.T) {
			r, s := newServer(t), openStore(t)
			target := r.push(t, "y:1", imageOf(t, packedGzip, smallTree))
			before := served(t, target)
			other := newServer(t)
			pulled := pullNow(t, s, other.push(t, "x:1", imageOf(t, packedGzip, bigTree)), PullOptions{})
			r.spoiled(c.spoil)
			_, err := pushTag(t, s, pulled.Name, target, PushOptions{})
			if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.text) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error %q, want %s with %q", err, c.code, c.text)
			}
			r.spoiled(nil)
			if got := served(t, target); got != before {
				t.Errorf("the tag means %s", got)
			}
			if _, err := s.Push(context.Background(), mustParse(t, target), PushOptions{}); err != nil || served(t, target) != pulled.Digest {
				t.Errorf("the next push: %v", err)
			}
		})
	}
}

// TestPushWithTokensThatExpire gives tokens that are good for two requests.
func TestPushWithTokensThatExpire(t *testing.T) {
	from, to, s := newServer(t), newServer(t), openStore(t)
	pulled := pullNow(t, s, from.push(t, "x:1", imageOf(t, packedGzip, bigTree, smallTree)), PullOptions{})
	login(t, os.Getenv("HOME")+"/.docker/config.json", to.host(), "secret")
	t.Cleanup(func() { _ = os.RemoveAll(os.Getenv("HOME") + "/.docker") })
	var mu sync.Mutex
	tokens, scopes, refused := map[string]int{}, map[string]bool{}, map[string]bool{}
	to.spoiled(func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if req.URL.Path == "/token" {
			if basic(w, req) {
				return true
			}
			scopes[strings.Join(req.URL.Query()["scope"], " ")] = true
			token := fmt.Sprint("t", len(tokens))
			tokens[token] = 2
			fmt.Fprintf(w, `{"token":%q}`, token)
			return true
		}
		token, what := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), req.Method+req.URL.Path
		left, known := tokens[token]
		if known && (left > 0 || refused[what]) { // others may have used up what it has got after its first refusal
			tokens[token]--
			return false
		}
		refused[what] = true
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, to.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	target := to.host() + "/y:1"
	if _, err := pushTag(t, s, pulled.Name, target, PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if !scopes["repository:y:push,pull"] || len(tokens) < 4 {
		t.Errorf("scopes %v, %d tokens", scopes, len(tokens))
	}
	to.spoiled(nil)
	if served(t, target) != pulled.Digest {
		t.Error("another image")
	}
}

func TestPushIndex(t *testing.T) {
	host, other := hostV1(), v1.Platform{OS: "linux", Architecture: "s390x"}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: imageFor(t, host, newLayer(t, packedGzip, bigTree.tar(t))), Descriptor: v1.Descriptor{Platform: &host}},
		mutate.IndexAddendum{Add: imageFor(t, other, newLayer(t, packedGzip, smallTree.tar(t))), Descriptor: v1.Descriptor{Platform: &other}})
	whole, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	from, to, s := newServer(t), newServer(t), openStore(t)
	source := from.push(t, "x:1", index)
	here := pullNow(t, s, source, PullOptions{})
	target := to.host() + "/y:1"
	pushed, err := pushTag(t, s, source, target, PushOptions{})
	if err != nil || pushed.Digest != here.Digest || pushed.Platform == "" || served(t, target) != here.Digest {
		t.Fatalf("one platform: %+v, %v", pushed, err)
	}
	there := pullNow(t, s, source, PullOptions{Platform: "linux/s390x", Policy: Always})
	target = to.host() + "/y:2"
	if pushed, err = pushTag(t, s, source, target, PushOptions{}); err != nil || pushed.Digest.String() != whole.String() || pushed.Platform != "" {
		t.Fatalf("all platforms: %+v, %v", pushed, err)
	}
	if got := served(t, target); got.String() != whole.String() {
		t.Errorf("the registry has %s", got)
	}
	target = to.host() + "/y:3"
	if pushed, err = pushTag(t, s, source, target, PushOptions{Platform: "linux/s390x"}); err != nil || pushed.Digest != there.Digest {
		t.Fatalf("the other platform: %+v, %v", pushed, err)
	}
}

// TestPushAsksTheHelperItIsGiven has a helper that is on no PATH, since it runs elsewhere.
func TestPushAsksTheHelperItIsGiven(t *testing.T) {
	r, s, dir := newServer(t), openStore(t), t.TempDir()
	pulled := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	to := newServer(t)
	to.spoiled(basic)
	t.Setenv("DOCKER_CONFIG", dir)
	writeConf(t, dir+"/config.json", fmt.Sprintf(`{"credHelpers":{%q:"elsewhere"}}`, to.host()))
	var asked []string
	o := PushOptions{Helper: func(program, action string, input []byte) ([]byte, error) {
		asked = append(asked, program+" "+action+" "+string(input))
		return []byte(`{"Username":"tester","Secret":"secret"}`), nil
	}}
	if _, err := s.PushImage(context.Background(), pulled, mustParse(t, to.host()+"/y:1"), o); err != nil {
		t.Fatal(err)
	}
	if len(asked) == 0 || asked[0] != "docker-credential-elsewhere get "+to.host() {
		t.Errorf("asked: %q", asked)
	}
}

func TestPushRefuses(t *testing.T) {
	r, s := newServer(t), openStore(t)
	pulled := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	for name, code := range map[string]Code{
		r.host() + "/x@" + pulled.Digest.String(): BadReference, pulled.ID.String(): BadReference, "oci:/x": BadReference,
		r.host() + "/none:1": NotFound,
	} {
		if _, err := s.Push(context.Background(), mustParse(t, name), PushOptions{}); !errors.Is(err, code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	manifest, _, err := s.read(mustFind(t, s, pulled.Name))
	if err != nil {
		t.Fatal(err)
	}
	path := s.blobPath(manifest.Layers[0].Digest)
	flip(t, path)
	to := newServer(t)
	if _, err := pushTag(t, s, pulled.Name, to.host()+"/y:1", PushOptions{}); !errors.Is(err, DigestMismatch) {
		t.Errorf("damaged blob: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(context.Background(), mustParse(t, to.host()+"/y:1"), PushOptions{}); !errors.Is(err, NotFound) {
		t.Errorf("missing blob: %v", err)
	}
	conf := t.TempDir() + "/registries.conf"
	writeConf(t, conf, "[[registry]]\nprefix='"+to.host()+"/blocked'\nblocked=true\n")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", conf)
	if _, err := pushTag(t, s, pulled.Name, to.host()+"/blocked/y:1", PushOptions{}); !errors.Is(err, Blocked) && !errors.Is(err, NotFound) {
		t.Errorf("blocked: %v", err)
	}
}

// TestPushToLocation rewrites the name as registries.conf says, and leaves mirrors alone.
func TestPushToLocation(t *testing.T) {
	from, mirror, home, s := newServer(t), newServer(t), newServer(t), openStore(t)
	pulled := pullNow(t, s, from.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	conf := t.TempDir() + "/registries.conf"
	writeConf(t, conf, "[[registry]]\nprefix='camp.test/team'\nlocation='"+home.host()+"/moved'\n[[registry.mirror]]\nlocation='"+mirror.host()+"'\n")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", conf)
	if _, err := pushTag(t, s, pulled.Name, "camp.test/team/y:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if served(t, home.host()+"/moved/y:1") != pulled.Digest || mirror.requests("") != nil {
		t.Error("pushed elsewhere")
	}
}
