package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func nobody() (Needs, error) { return Needs{}, nil }

func neededBy(users ...User) NeedsFunc {
	return func() (Needs, error) { return Needs{Users: users}, nil }
}

// made puts an image of one or more layers into the store, without any registry, and forgets it.
func made(t testing.TB, s *Store, texts []string, names ...string) *Image {
	t.Helper()
	o := NewImage{Config: json.RawMessage(fmt.Sprintf(`{"created":"2020-01-01T00:00:00Z","config":{"Labels":{"text":%q}}}`, texts[0]))}
	for _, text := range texts {
		l, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, text)})
		must(t, err)
		o.Layers = append(o.Layers, l)
	}
	for _, name := range names {
		o.Names = append(o.Names, mustParse(t, name))
	}
	img, err := s.CreateImage(t.Context(), o)
	must(t, err)
	s.Close()
	return img
}

// contents is what there is of images: names, blobs, layers and what is under way.
func contents(t testing.TB, s *Store) (names []string, blobs, layers, others int) {
	t.Helper()
	list, err := s.List()
	must(t, err)
	for _, i := range list {
		names = append(names, i.Repository+":"+i.Tag)
	}
	for range s.allBlobs() {
		blobs++
	}
	for range s.allLayers() {
		layers++
	}
	for _, dir := range []string{s.path("layers", s.ids.Key, "tmp"), s.path("tmp"), s.path("locks")} {
		others += len(entries(dir))
	}
	return names, blobs, layers, others
}

func expect(t testing.TB, s *Store, names []string, blobs, layers int) {
	t.Helper()
	n, b, l, o := contents(t, s)
	if !slices.Equal(n, names) || b != blobs || l != layers || o != 0 {
		t.Errorf("%v, %d blobs, %d layers, %d others; want %v, %d, %d", n, b, l, o, names, blobs, layers)
	}
}

func remove(t testing.TB, s *Store, name string, force bool, needs NeedsFunc) ([]Removed, error) {
	t.Helper()
	return s.RemoveImages(t.Context(), []string{name}, force, needs)
}

func TestRemoveImages(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		a := made(t, s, []string{"x", "a"}, "a:1", "a:2")
		b := made(t, s, []string{"x", "b"}, "b")
		expect(t, s, []string{"a:1", "a:2", "b:latest"}, 7, 3)
		steps, err := remove(t, s, "a:1", false, neededBy(User{Name: "container c", Image: a.ID})) // another name is left
		must(t, err)
		if !slices.Equal(steps, []Removed{{Untagged: "a:1"}}) {
			t.Error(steps)
		}
		expect(t, s, []string{"a:2", "b:latest"}, 7, 3)
		steps, err = remove(t, s, a.ID.Encoded()[:12], false, nobody)
		must(t, err)
		want := []Removed{{Untagged: "a:2"}, {Deleted: a.ID.String()}, {Deleted: a.Config.RootFS.DiffIDs[1].String()}}
		if !slices.Equal(steps, want) {
			t.Errorf("%v, want %v", steps, want)
		}
		expect(t, s, []string{"b:latest"}, 4, 2)
		if _, err := remove(t, s, "a:2", true, nobody); !errors.Is(err, NotFound) {
			t.Error(err)
		}
		if _, err = remove(t, s, b.ID.String(), false, nobody); err != nil {
			t.Error(err)
		}
		expect(t, s, nil, 0, 0)
	})
}

func TestRemoveImagesInUse(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		a := made(t, s, []string{"a"}, "a:1", "other:1")
		stopped, running := neededBy(User{Name: "container c", Manifest: a.Digest}), neededBy(User{Name: "container c", Image: a.ID, Running: true})
		for _, c := range []struct {
			name  string
			force bool
			needs NeedsFunc
			text  string
		}{
			{a.ID.String(), false, nobody, "several names: a:1, other:1"},
			{a.ID.String(), false, stopped, "several names"},
			{a.ID.String(), true, running, "container c is running"},
		} {
			if _, err := remove(t, s, c.name, c.force, c.needs); !errors.Is(err, InUse) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		expect(t, s, []string{"a:1", "other:1"}, 3, 1)
		_, err := remove(t, s, "other:1", false, running)
		must(t, err)
		if _, err := remove(t, s, "a:1", false, stopped); !errors.Is(err, InUse) {
			t.Error(err)
		}
		steps, err := remove(t, s, "a:1", true, stopped)
		must(t, err)
		if !slices.Equal(steps, []Removed{{Untagged: "a:1"}}) {
			t.Error(steps)
		}
		expect(t, s, []string{"<none>:<none>"}, 3, 1)
		if _, err := s.Prune(t.Context(), PruneOptions{All: true}, stopped); err != nil {
			t.Error(err)
		}
		expect(t, s, []string{"<none>:<none>"}, 3, 1)
		if _, err := s.Prune(t.Context(), PruneOptions{Nameless: true}, nobody); err != nil {
			t.Error(err)
		}
		expect(t, s, nil, 0, 0)
	})
}

func TestUseKeepsAnImage(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		a := made(t, s, []string{"a"}, "a")
		user := openStoreIn(t, s.Dir())
		release, err := user.Use(a, strings.Repeat("1", 64))
		must(t, err)
		if _, err := remove(t, s, "a", true, nobody); !errors.Is(err, InUse) || !strings.Contains(err.Error(), "container 111111111111 is running") {
			t.Error(err)
		}
		_, err = remove(t, s, "a", false, neededBy(User{Name: "container x", Container: strings.Repeat("1", 64), Image: a.ID}))
		if !errors.Is(err, InUse) || !strings.Contains(err.Error(), "container x is made from it") {
			t.Errorf("a note counts more than the record: %v", err)
		}
		release()
		if _, err := remove(t, s, "a", false, nobody); err != nil {
			t.Error(err)
		}
	})
}

func TestNotesKeepParts(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		made(t, s, []string{"a"}, "a")
		user := openStoreIn(t, s.Dir())
		img, err := user.Pull(t.Context(), mustParse(t, "a"), PullOptions{Policy: Never})
		must(t, err)
		_, err = remove(t, s, "a", false, nobody)
		must(t, err)
		expect(t, s, nil, 3, 1)
		if _, err := os.Stat(filepath.Join(img.Layers[0], "last")); err != nil {
			t.Error(err)
		}
		again, err := user.CreateImage(t.Context(), NewImage{Base: img, Config: img.RawConfig, Names: []Reference{mustParse(t, "b")}})
		must(t, err)
		if again.ID != img.ID {
			t.Errorf("%s instead of %s", again.ID, img.ID)
		}
		user.Close()
		_, err = remove(t, s, "b", false, nobody)
		must(t, err)
		expect(t, s, nil, 0, 0)
	})
}

func TestScope(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		scoped, end := s.Scope()
		l, err := scoped.CreateLayer(t.Context(), NewLayer{Upper: change(t, "x")})
		must(t, err)
		prune := func() {
			_, err := openStoreIn(t, s.Dir()).Prune(t.Context(), PruneOptions{}, nobody)
			must(t, err)
		}
		prune()
		if _, ok, err := scoped.UseLayer(l); !ok || err != nil {
			t.Errorf("gone: %v", err)
		}
		end()
		prune()
		if _, ok, err := s.UseLayer(l); ok || err != nil {
			t.Errorf("still there: %v", err)
		}
	})
}

func TestPruneFilters(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		for _, c := range []struct {
			o    PruneOptions
			left []string
		}{
			{PruneOptions{}, []string{"a:latest", "<none>:<none>"}},
			{PruneOptions{Nameless: true}, []string{"a:latest"}},
			{PruneOptions{All: true}, nil},
			{PruneOptions{All: true, Before: time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)}, []string{"a:latest", "<none>:<none>"}},
			{PruneOptions{All: true, Before: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
			{PruneOptions{All: true, Labels: []string{"text=b"}}, []string{"a:latest"}},
			{PruneOptions{All: true, Labels: []string{"!text=b"}}, []string{"<none>:<none>"}},
			{PruneOptions{All: true, Labels: []string{"text"}}, nil},
			{PruneOptions{All: true, Labels: []string{"text", "other"}}, []string{"a:latest", "<none>:<none>"}},
		} {
			s := openStoreIn(t, filepath.Join(t.TempDir(), "store"))
			made(t, s, []string{"a"}, "a")
			made(t, s, []string{"b"})
			done, err := s.Prune(t.Context(), c.o, nobody)
			must(t, err)
			if names, _, _, _ := contents(t, s); !slices.Equal(names, c.left) || (done.Bytes > 0) != (len(c.left) < 2) {
				t.Errorf("%+v: %v left, %d bytes", c.o, names, done.Bytes)
			}
		}
	})
}

// TestRemovalAmongOthers has many processes, as far as the store can tell, that pull, make, use and remove images and layers at
// once: what somebody was given stays whole until he lets it go.
func TestRemovalAmongOthers(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		r, dir := newServer(t), filepath.Join(t.TempDir(), "store")
		var refs []Reference
		for i := range 4 {
			refs = append(refs, mustParse(t, r.push(t, fmt.Sprintf("x:%d", i), imageOf(t, packedGzip, smallTree, tree{fmt.Sprintf("file last %d", i)}))))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for seed := range uint64(8) {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, 7))
				for ctx.Err() == nil {
					actOnce(t, dir, refs, random)
				}
			})
		}
		all.Wait()
		s := openStoreIn(t, dir)
		fsck(t, s)
		_, err := s.Prune(t.Context(), PruneOptions{All: true}, nobody)
		must(t, err)
		expect(t, s, nil, 0, 0)
	})
}

func actOnce(t *testing.T, dir string, refs []Reference, random *rand.Rand) {
	s := openStoreIn(t, dir)
	defer s.Close()
	ref := refs[random.IntN(len(refs))]
	var err error
	switch random.IntN(6) {
	case 0:
		_, err = s.RemoveImages(t.Context(), []string{ref.String()}, true, nobody)
		err = ignore(err, NotFound)
	case 1:
		_, err = s.Prune(t.Context(), PruneOptions{All: random.IntN(2) == 0, Nameless: true}, nobody)
	default:
		err = useOnce(t, s, ref, random)
	}
	if err != nil {
		t.Error(err)
	}
}

// useOnce is what a container, or a build, does with an image.
func useOnce(t *testing.T, s *Store, ref Reference, random *rand.Rand) error {
	img, err := s.Pull(t.Context(), ref, PullOptions{})
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
	for _, dir := range img.Layers {
		if _, err := os.Stat(filepath.Join(dir, "last")); err != nil {
			return err
		}
	}
	if random.IntN(3) > 0 {
		return nil
	}
	l, err := s.CreateLayer(t.Context(), NewLayer{Upper: change(t, fmt.Sprint(random.IntN(3)))})
	if err != nil {
		return err
	}
	_, err = s.CreateImage(t.Context(), NewImage{Base: img, Layers: []Layer{l}, Config: img.RawConfig})
	return err
}

func TestUsage(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		a := made(t, s, []string{"x", "a"}, "a:1", "a:2")
		b := made(t, s, []string{"x", "b"})
		must(t, os.WriteFile(s.path("partial"), nil, 0o600))
		must(t, os.Remove(s.path("partial")))
		u, err := s.Usage(neededBy(User{Image: a.ID, Container: "c"}))
		must(t, err)
		if len(u.Images) != 2 || len(u.Layers) != 3 || u.Other != 0 || !slices.Equal(u.Images[0].Names, []string{"a:1", "a:2"}) {
			t.Fatalf("%+v", u)
		}
		sum := u.Images[0].Unique + u.Images[1].Unique + u.Images[0].Shared
		if u.Images[1].ID != b.ID || u.Images[0].Shared != u.Images[1].Shared || u.Size != sum || u.Unused != u.Images[1].Unique {
			t.Errorf("%+v", u)
		}
		if du := DiskUsage(s.path("blobs")) + DiskUsage(s.path("layers")); du < u.Size || du > u.Size+64<<10 {
			t.Errorf("%d bytes by du, %d by the store", du, u.Size)
		}
		must(t, s.forgetNames())
		if u, err = s.Usage(nobody); err != nil || u.Other != sum || u.Size != 0 {
			t.Errorf("%+v, %v", u, err)
		}
	})
}

func (s *Store) forgetNames() error {
	return s.edit(context.Background(), func([]ocispec.Descriptor) ([]ocispec.Descriptor, error) { return nil, nil })
}

func TestReset(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := openStore(t)
		made(t, s, []string{"a"}, "a")
		must(t, os.MkdirAll(s.path("containers", "x"), 0o700))
		must(t, os.Mkdir(s.path("run"), 0o700))
		if err := s.Reset(t.Context(), []string{"run"}, neededBy(User{Name: "container c", Running: true})); !errors.Is(err, InUse) {
			t.Error(err)
		}
		user := openStoreIn(t, s.Dir())
		_, err := user.Pull(t.Context(), mustParse(t, "a"), PullOptions{Policy: Never})
		must(t, err)
		if err := s.Reset(t.Context(), []string{"run"}, nobody); !errors.Is(err, InUse) {
			t.Error(err)
		}
		user.Close()
		must(t, s.Reset(t.Context(), []string{"run"}, nobody))
		if left := entries(s.Dir()); len(left) != 1 || left[0].Name() != "run" {
			t.Errorf("%v", left)
		}
	})
}

func TestCheckFindsAndRepairs(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		for _, c := range checkCases {
			t.Run(c.name, func(t *testing.T) {
				s := openStoreIn(t, filepath.Join(t.TempDir(), "store"))
				img := made(t, s, []string{"x", "a"}, "a")
				if n, problems, err := s.Check(t.Context(), false, nobody, nil); n != 6 || len(problems) > 0 || err != nil {
					t.Fatalf("a good store: %d, %v, %v", n, problems, err)
				}
				c.spoil(t, s, img)
				_, problems, err := s.Check(t.Context(), false, nobody, nil)
				must(t, err)
				if len(problems) == 0 || problems[0].Kind != c.kind || problems[0].Repaired {
					t.Errorf("found %+v", problems)
				}
				for _, p := range problems { // in plain words, not the system's
					if strings.Contains(p.Text, "no such file") || strings.Contains(p.Text, s.dir) {
						t.Errorf("it says %q", p.Text)
					}
				}
				_, problems, err = s.Check(t.Context(), true, nobody, nil)
				must(t, err)
				for _, p := range problems {
					if !p.Repaired && !strings.Contains(p.Text, "pull it again") {
						t.Errorf("not repaired: %+v", p)
					}
				}
				s.Close()
				if _, problems, err = s.Check(t.Context(), false, nobody, nil); err != nil || len(problems) > c.left {
					t.Errorf("left %+v, %v", problems, err)
				}
			})
		}
	})
}

type checkCase struct {
	name, kind string
	left       int
	spoil      func(t *testing.T, s *Store, img *Image)
}

var checkCases = []checkCase{
	{"flipped byte in a layer's blob", "blob", 1, func(t *testing.T, s *Store, _ *Image) { flip(t, s.blobPath(layerBlob(t, s))) }},
	{"flipped byte in a manifest", "blob", 0, func(t *testing.T, s *Store, img *Image) { flip(t, s.blobPath(img.Digest)) }},
	{"missing file", "layer", 0, func(t *testing.T, _ *Store, img *Image) { must(t, os.Remove(filepath.Join(img.Layers[0], "last"))) }},
	{"changed file", "layer", 0, func(t *testing.T, _ *Store, img *Image) {
		must(t, os.WriteFile(filepath.Join(img.Layers[1], "last"), []byte("b"), 0o644))
	}},
	{"changed mode", "layer", 0, func(t *testing.T, _ *Store, img *Image) {
		must(t, os.Chmod(filepath.Join(img.Layers[1], "last"), 0o600))
	}},
	{"missing layer", "image", 0, func(t *testing.T, _ *Store, img *Image) { must(t, os.RemoveAll(filepath.Dir(img.Layers[0]))) }},
	{"missing description", "layer", 0, func(t *testing.T, _ *Store, img *Image) {
		must(t, os.Remove(filepath.Join(filepath.Dir(img.Layers[0]), "layer.json")))
	}},
	{"missing configuration", "image", 0, func(t *testing.T, s *Store, img *Image) { must(t, os.Remove(s.blobPath(img.ID))) }},
	{"missing manifest", "image", 0, func(t *testing.T, s *Store, img *Image) { must(t, os.Remove(s.blobPath(img.Digest))) }},
	{"no files", "layer", 0, func(t *testing.T, _ *Store, img *Image) { must(t, os.RemoveAll(img.Layers[0])) }},
	{"garbage index", "image", 0, func(t *testing.T, s *Store, _ *Image) {
		must(t, os.WriteFile(s.path("index.json"), []byte("{"), 0o644))
	}},
	{"leftovers", "leftover", 0, func(t *testing.T, s *Store, _ *Image) {
		must(t, os.MkdirAll(s.path("layers", s.ids.Key, "tmp", "new-x", "diff"), 0o755))
		must(t, os.WriteFile(s.blobPath(digest.FromString("x")), []byte("x"), 0o644))
	}},
}

func layerBlob(t *testing.T, s *Store) digest.Digest {
	t.Helper()
	list, err := s.index()
	must(t, err)
	m, _, err := s.read(list.Manifests[0])
	must(t, err)
	return m.Layers[0].Digest
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o644))
}
