package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs"
)

const someID = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content puts two files into a volume, and marks its directory.
func content(mode os.FileMode) Content {
	return Content{
		Copy: func(_ context.Context, dst *os.File) error {
			for _, name := range []string{"one", "two"} {
				if err := os.WriteFile(filepath.Join(dst.Name(), name), []byte(name), 0o600); err != nil {
					return err
				}
			}
			return dst.Chmod(mode)
		},
		Describe: func(dst, src *os.File) error {
			st, err := src.Stat()
			if err != nil {
				return err
			}
			return dst.Chmod(st.Mode())
		},
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestCreateMakesAVolumeOnce(t *testing.T) {
	s := Open(t.TempDir(), "map")
	v, use, made, err := s.Create(t.Context(), Options{Name: "data", Labels: map[string]string{"a": "b"}})
	check(t, err)
	if !made || use != nil || v.Name != "data" || v.Anonymous || v.Labels["a"] != "b" || v.Created.IsZero() {
		t.Errorf("made %v %v %+v", made, use, v)
	}
	if st, err := os.Stat(v.Data()); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", st, err)
	}
	again, _, made, err := s.Create(t.Context(), Options{Name: "data", Labels: map[string]string{"c": "d"}})
	check(t, err)
	if made || again.Labels["c"] != "" || !again.Created.Equal(v.Created) {
		t.Errorf("made %v %+v", made, again)
	}
	a, _, made, err := s.Create(t.Context(), Options{})
	check(t, err)
	if !made || !a.Anonymous || len(a.Name) != 64 {
		t.Errorf("made %v %+v", made, a)
	}
	list, err := s.List()
	check(t, err)
	if len(list) != 2 {
		t.Errorf("listed %d", len(list))
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"ab": true, "a.b-c_D9": true, "": false, "a": false, ".a": false, "-a": false, "..": false, "a/b": false, "a b": false,
		"ä1": false, "a\x00": false, strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if err := CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestRemoveRefusesWhatIsUsed(t *testing.T) {
	home := t.TempDir()
	s := Open(home, "map")
	v, use, _, err := s.Create(t.Context(), Options{Name: "data", User: &User{ID: someID, Name: "web"}})
	check(t, err)
	err = s.Remove(t.Context(), "data")
	if !errors.Is(err, InUse) || !strings.Contains(err.Error(), "web") {
		t.Fatalf("removed: %v", err)
	}
	use.Leave()
	if users, err := v.Users(); err != nil || len(users) != 0 {
		t.Errorf("the user of a process that has left: %v %v", users, err)
	}
	record := filepath.Join(home, "containers", someID)
	check(t, os.MkdirAll(record, 0o755))
	check(t, os.WriteFile(filepath.Join(record, containerName), nil, 0o600))
	check(t, os.MkdirAll(filepath.Join(home, "containers", "names"), 0o755))
	check(t, os.Symlink("../"+someID, filepath.Join(home, "containers", "names", "renamed")))
	if err = s.Remove(t.Context(), "data"); !errors.Is(err, InUse) || !strings.Contains(err.Error(), "renamed") {
		t.Fatalf("removed although a container that is kept has it: %v", err)
	}
	check(t, v.Forget(t.Context(), someID))
	check(t, s.Remove(t.Context(), "data"))
	if err = s.Remove(t.Context(), "data"); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("removed again: %v", err)
	}
	if left := names(t, s.dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestEphemeralGoesWithItsLastUser(t *testing.T) {
	s := Open(t.TempDir(), "map")
	v, first, _, err := s.Create(t.Context(), Options{Name: "tmp", Ephemeral: true, User: &User{ID: someID}})
	check(t, err)
	second, err := v.Use(t.Context(), User{ID: strings.Repeat("a", 64)})
	check(t, err)
	check(t, first.Release(t.Context()))
	if _, err := s.Get("tmp"); err != nil {
		t.Fatalf("gone with its first user: %v", err)
	}
	check(t, second.Release(t.Context()))
	check(t, second.Release(t.Context()))
	if _, err := s.Get("tmp"); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("still there: %v", err)
	}
	_, use, _, err := s.Create(t.Context(), Options{Ephemeral: true, User: &User{ID: someID}})
	check(t, err)
	s.Sweep(t.Context())
	if list, _ := s.List(); len(list) != 1 {
		t.Fatalf("swept away in use")
	}
	use.Leave() // as if killed
	s.Sweep(t.Context())
	if list, _ := s.List(); len(list) != 0 {
		t.Errorf("not swept: %v", list)
	}
}

func TestAnotherMappingIsRefused(t *testing.T) {
	home := t.TempDir()
	_, _, _, err := Open(home, "one").Create(t.Context(), Options{Name: "data"})
	check(t, err)
	_, _, _, err = Open(home, "two").Create(t.Context(), Options{Name: "data", User: &User{ID: someID}})
	if !errors.Is(err, Invalid) || !strings.Contains(err.Error(), "another mapping") {
		t.Errorf("got %v", err)
	}
}

func TestFillOnlyWhatIsEmpty(t *testing.T) {
	s := Open(t.TempDir(), "map")
	v, _, _, err := s.Create(t.Context(), Options{Name: "data"})
	check(t, err)
	before, err := os.Stat(v.Data())
	check(t, err)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := v.Fill(t.Context(), content(0o750)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	after, err := os.Stat(v.Data())
	check(t, err)
	if !os.SameFile(before, after) || after.Mode().Perm() != 0o750 {
		t.Errorf("the directory is another one, or %v", after.Mode())
	}
	check(t, os.Remove(filepath.Join(v.Data(), "one")))
	check(t, v.Fill(t.Context(), content(0o700)))
	if got := names(t, v.Data()); !slices.Equal(got, []string{"two"}) {
		t.Errorf("got %v", got)
	}
	if got := names(t, v.dir()); slices.Contains(got, fillingName) || slices.Contains(got, filledName) {
		t.Errorf("left %v", got)
	}
	failing := content(0)
	failing.Copy = func(context.Context, *os.File) error { return errors.New("no") }
	check(t, os.Remove(filepath.Join(v.Data(), "two")))
	if err := v.Fill(t.Context(), failing); err == nil || len(names(t, v.Data())) != 0 {
		t.Errorf("got %v and %v", err, names(t, v.Data()))
	}
}

func TestDamagedRecordCanBeRemoved(t *testing.T) {
	s := Open(t.TempDir(), "map")
	v, _, _, err := s.Create(t.Context(), Options{Name: "data"})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(v.dir(), recordName), []byte("{"), 0o600))
	if _, err := s.Get("data"); !errors.Is(err, rootfs.BadConfig) {
		t.Errorf("got %v", err)
	}
	check(t, s.Remove(t.Context(), "data"))
}

func TestTwoAtOnce(t *testing.T) {
	s := Open(t.TempDir(), "map")
	var all sync.WaitGroup
	for i := range 8 {
		id := strings.Repeat(string(rune('a'+i)), 64)
		all.Go(func() {
			for range 20 {
				_, use, _, err := s.Create(t.Context(), Options{Name: "data", User: &User{ID: id}})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(use.Volume().Data()); err != nil {
					t.Errorf("removed in use: %v", err)
				}
				if err := use.Release(t.Context()); err != nil {
					t.Error(err)
				}
				_ = s.Remove(t.Context(), "data")
			}
		})
	}
	all.Wait()
}
