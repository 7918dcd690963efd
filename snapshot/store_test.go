package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
)

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	check(t, err)
	return s
}

// draft makes a snapshot with a layer, images and a tree, not listed.
func draft(t testing.TB, s *Store, parent *Snapshot, meta Meta) (*Draft, *Snapshot) {
	t.Helper()
	d, err := s.Draft(context.Background(), parent)
	check(t, err)
	plant(t, d.Layer(), "dir d", "file d/changed "+meta.Name)
	images, err := d.Images()
	check(t, err)
	plant(t, images, "file pages-1.img 12345678", "file core.img x")
	tree, err := d.Tree(0)
	check(t, err)
	plant(t, tree, "file shm x")
	meta.Trees = []Tree{{Target: "/dev/shm", N: 0}}
	if meta.Detail == nil {
		meta.Detail = json.RawMessage(`{"spec":1}`)
	}
	sn, err := d.Finish(meta)
	check(t, err)
	return d, sn
}

func publish(t testing.TB, s *Store, parent *Snapshot, meta Meta) *Snapshot {
	t.Helper()
	_, sn := draft(t, s, parent, meta)
	check(t, sn.Publish())
	return sn
}

func ids(t testing.TB, s *Store) (all []string) {
	t.Helper()
	list, err := s.List()
	check(t, err)
	for _, sn := range list {
		all = append(all, sn.Meta().ID)
	}
	return all
}

// expectEmpty finds anything that a store without snapshots should not have.
func expectEmpty(t testing.TB, s *Store) {
	t.Helper()
	expectOnly(t, s, 0, 0)
}

func expectOnly(t testing.TB, s *Store, snapshots, layers int) {
	t.Helper()
	for dir, want := range map[string]int{"by-id": snapshots, "layers": layers, "locks": 0, "trash": 0} {
		got, err := s.entries(dir)
		check(t, err)
		if len(got) != want {
			t.Errorf("%d %s, want %d: %q", len(got), dir, want, got)
		}
	}
}

func TestLifeOfASnapshot(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("before: %v, %v", list, err)
	}
	d, sn := draft(t, s, nil, Meta{Name: "one", Key: "k", Kernel: "6.8"})
	if got := ids(t, s); len(got) != 0 {
		t.Errorf("a draft is listed: %q", got)
	}
	check(t, sn.Verify(ctx))
	hold, err := sn.Hold()
	check(t, err)
	before := sn.Layers()
	check(t, sn.Publish(), sn.Publish(), d.Discard())
	for _, find := range []func() (*Snapshot, error){
		func() (*Snapshot, error) { return s.Find("one") }, func() (*Snapshot, error) { return s.Find(sn.Meta().ID) },
		func() (*Snapshot, error) { return s.Find(sn.Meta().ID[:5]) }, func() (*Snapshot, error) { return s.ByKey("k") },
	} {
		got, err := find()
		check(t, err, got.Verify(ctx))
		m := got.Meta()
		if m.ID != d.ID() || m.Kernel != "6.8" || string(m.Detail) != `{"spec":1}` || !m.HasImages || m.MemorySize < 8 || m.Size <= m.MemorySize ||
			m.Trees[0].Target != "/dev/shm" || time.Since(m.Created) > time.Minute || got.Layers()[0] != before[0] {
			t.Errorf("found %+v with %q", m, got.Layers())
		}
		for _, file := range []string{got.Layers()[0] + "/d/changed", got.Images() + "/core.img", got.Tree(0) + "/shm"} {
			if _, err := os.Stat(file); err != nil {
				t.Error(err)
			}
		}
	}
	if err := s.Remove(d.ID()); !errors.Is(err, InUse) {
		t.Errorf("removed while held: %v", err)
	}
	hold.Release()
	hold.Release()
	check(t, s.Remove(d.ID()))
	if err := s.Remove(d.ID()); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := sn.Hold(); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("held what is removed: %v", err)
	}
	expectEmpty(t, s)
}

func TestFindTellsWhatIsWrong(t *testing.T) {
	s := openStore(t)
	a, b := publish(t, s, nil, Meta{Name: "named"}), publish(t, s, nil, Meta{})
	common := ""
	for i := range 64 {
		if a.id[i] != b.id[i] {
			common = a.id[:i]
			break
		}
	}
	for ref, want := range map[string]rootfs.Code{"nobody": rootfs.NotFound, "": rootfs.NotFound, "../by-id": rootfs.NotFound} {
		if _, err := s.Find(ref); !errors.Is(err, want) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, err := s.Find(common); common != "" && !errors.Is(err, Invalid) {
		t.Errorf("%q: %v", common, err)
	}
	if sn, err := s.ByKey(""); sn != nil || err != nil {
		t.Errorf("no key: %v, %v", sn, err)
	}
	d, err := s.Draft(context.Background(), nil)
	check(t, err)
	for _, name := range []string{"../x", "-x", strings.Repeat("x", 129), "a/b", "a\n"} {
		if _, err := d.Finish(Meta{Name: name}); !errors.Is(err, Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	check(t, d.Discard(), d.Discard())
	expectOnly(t, s, 2, 2)
}

func TestNamesAndKeysGoToTheLastOne(t *testing.T) {
	s := openStore(t)
	first := publish(t, s, nil, Meta{Name: "n"})
	second := publish(t, s, nil, Meta{Name: "n"})
	got, err := s.Find("n")
	check(t, err)
	old, err := s.Find(first.id)
	check(t, err, old.Verify(context.Background()))
	if got.id != second.id || old.Meta().Name != "" {
		t.Errorf("the name is %s's, and the old one is called %q", got.id, old.Meta().Name)
	}
	check(t, s.Remove(first.id), s.Remove(second.id))

	third := publish(t, s, nil, Meta{Key: "k"})
	hold, err := third.Hold()
	check(t, err)
	publish(t, s, nil, Meta{Key: "k"}) // third is held, and stays
	fifth := publish(t, s, nil, Meta{Key: "k"})
	got, err = s.ByKey("k")
	check(t, err)
	if got.id != fifth.id || len(ids(t, s)) != 2 {
		t.Errorf("the key is that of %s, of %q", got.id, ids(t, s))
	}
	hold.Release()
	named := publish(t, s, nil, Meta{Key: "k2", Name: "keep"})
	publish(t, s, nil, Meta{Key: "k2"})
	if sn, err := s.Find("keep"); err != nil || sn.id != named.id || sn.Meta().Key != "" {
		t.Errorf("a named one is replaced: %v", err)
	}
}

func TestLayersStayAsLongAsTheyAreNeeded(t *testing.T) {
	s := openStore(t)
	parent := publish(t, s, nil, Meta{})
	d, sn := draft(t, s, parent, Meta{})
	if err := s.Remove(parent.id); !errors.Is(err, InUse) {
		t.Errorf("the parent of a draft is removed: %v", err)
	}
	check(t, sn.Publish())
	if got := sn.Layers(); len(got) != 2 || got[0] != parent.Layers()[0] || got[1] != d.Layer() {
		t.Errorf("layers %q", got)
	}
	check(t, s.Remove(parent.id))
	expectOnly(t, s, 1, 2)
	other := publish(t, s, sn, Meta{})
	check(t, s.Remove(sn.id), other.Verify(context.Background()))
	expectOnly(t, s, 1, 3)
	check(t, s.Remove(other.id))
	expectEmpty(t, s)
}

func TestDiscardOfWhatIsHeld(t *testing.T) {
	s := openStore(t)
	parent := publish(t, s, nil, Meta{})
	d, sn := draft(t, s, parent, Meta{})
	hold, err := sn.Hold()
	check(t, err)
	if err := d.Discard(); !errors.Is(err, InUse) {
		t.Errorf("discarded while held: %v", err)
	}
	if err := s.Remove(parent.id); !errors.Is(err, InUse) {
		t.Errorf("its parent is removed: %v", err)
	}
	_, err = s.Evict(0)
	check(t, err, sn.Verify(context.Background()))
	hold.Release()
	check(t, d.Discard(), d.Discard(), s.Remove(parent.id))
	if err := sn.Publish(); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("published after it was discarded: %v", err)
	}
	expectEmpty(t, s)
}

func TestEphemeralStoreOnTopOfAnother(t *testing.T) {
	s := openStore(t)
	base := publish(t, s, nil, Meta{Name: "base"})
	e, err := OpenEphemeral(filepath.Join(t.TempDir(), "memory"))
	check(t, err)
	first := publish(t, e, base, Meta{Name: "first"})
	second := publish(t, e, first, Meta{Name: "second"})
	check(t, e.Remove(first.id), second.Verify(context.Background()))
	if got := second.Layers(); len(got) != 3 || got[0] != base.Layers()[0] {
		t.Errorf("layers %q", got)
	}
	if err := s.Remove(base.id); !errors.Is(err, InUse) {
		t.Errorf("what an ephemeral one refers to is removed: %v", err)
	}
	kept := publish(t, s, second, Meta{Name: "kept"}) // from memory to disk
	layers := kept.Layers()
	if len(layers) != 4 || layers[0] != base.Layers()[0] {
		t.Errorf("layers %q", layers)
	}
	for _, dir := range layers {
		if !strings.HasPrefix(dir, s.dir) {
			t.Errorf("a layer is in %s", dir)
		}
	}
	expectSame(t, layers[1], second.Layers()[1])
	check(t, e.Remove(second.id), s.Remove(base.id))
	expectEmpty(t, e)
	check(t, kept.Verify(context.Background()), s.Remove(kept.id))
	expectEmpty(t, s)
	again := publish(t, s, nil, Meta{})
	publish(t, e, again, Meta{})
	e.Close()
	check(t, s.Remove(again.id))
}

func TestEvictsTheLeastRecentlyUsed(t *testing.T) {
	s := openStore(t)
	var all []*Snapshot
	for i := range 5 {
		sn := publish(t, s, nil, Meta{Name: fmt.Sprint("n", i)})
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		check(t, os.Chtimes(filepath.Join(s.snapshotDir(sn.id), usedName), used, used))
		all = append(all, sn)
	}
	hold, err := all[0].Hold() // the oldest: used a moment ago, and held
	check(t, err)
	h2, err := all[1].Hold() // used, not held
	check(t, err)
	h2.Release()
	size := all[0].Meta().Size
	if gone, err := s.Evict(5 * size); err != nil || len(gone) != 0 {
		t.Errorf("nothing to evict: %v, %v", gone, err)
	}
	gone, err := s.Evict(3*size + 1)
	check(t, err)
	if len(gone) != 2 || gone[0].Name != "n2" || gone[1].Name != "n3" {
		t.Errorf("evicted %+v", gone)
	}
	gone, err = s.Evict(0)
	check(t, err)
	if len(gone) != 2 || len(ids(t, s)) != 1 {
		t.Errorf("evicted %+v", gone)
	}
	hold.Release()
	_, err = s.Evict(0)
	check(t, err)
	expectEmpty(t, s)
}

func TestOneMakesAKeyAtATime(t *testing.T) {
	s := openStore(t)
	release, err := s.LockKey(context.Background(), "key")
	check(t, err)
	other, err := s.LockKey(context.Background(), "another key")
	check(t, err)
	other()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.LockKey(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	cmd := child(t, "lock", s.dir, "key")
	out, err := cmd.StdoutPipe()
	check(t, err, cmd.Start())
	got := make(chan string)
	go func() { b, _ := io.ReadAll(out); got <- string(b) }()
	select {
	case b := <-got:
		t.Errorf("another process has it at once: %q", b)
	case <-time.After(100 * time.Millisecond):
	}
	release()
	release()
	if b := <-got; b != "locked" {
		t.Errorf("another process says %q", b)
	}
	check(t, cmd.Wait())
	release, err = s.LockKey(context.Background(), "key")
	check(t, err)
	release()
	expectEmpty(t, s)
}

func init() {
	tasks["lock"] = func(args []string) error {
		s, err := Open(args[0])
		if err != nil {
			return err
		}
		release, err := s.LockKey(context.Background(), args[1])
		if err == nil {
			fmt.Print("locked")
			release()
		}
		return err
	}
}

func TestWhatAnotherVersionMadeStays(t *testing.T) {
	s := openStore(t)
	sn := publish(t, s, nil, Meta{})
	name := filepath.Join(s.snapshotDir(sn.id), recordName)
	check(t, os.WriteFile(name, []byte(`{"format":2,"new":true}`), 0o600))
	other := publish(t, s, nil, Meta{})
	_, err := s.Evict(0)
	check(t, err)
	if _, err := os.Stat(sn.Layers()[0]); err != nil {
		t.Error(err)
	}
	if _, err := s.Find(other.id); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Find(sn.id); !errors.Is(err, rootfs.NotFound) && !errors.Is(err, Stale) {
		t.Errorf("got %v", err)
	}
}

// TestVerifyFindsEveryChange changes each file of a snapshot in turn.
func TestVerifyFindsEveryChange(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	changes := map[string]func(name string) error{
		"touch":  func(name string) error { now := time.Now(); return os.Chtimes(name, now, now) },
		"mode":   func(name string) error { return os.Chmod(name, 0o711) },
		"attr":   func(name string) error { return unix.Setxattr(name, "user.x", []byte("y"), 0) },
		"added":  func(name string) error { return os.WriteFile(filepath.Join(filepath.Dir(name), "added"), nil, 0o600) },
		"remove": os.RemoveAll,
		"secretly": func(name string) error {
			info, err := os.Stat(name)
			if err != nil || info.IsDir() {
				return errors.Join(err, os.Chmod(name, 0o700))
			}
			content, err := os.ReadFile(name)
			if err != nil || len(content) == 0 {
				return os.Truncate(name, 1)
			}
			content[0] ^= 1
			return errors.Join(os.WriteFile(name, content, 0o600), os.Chtimes(name, info.ModTime(), info.ModTime()))
		},
	}
	files := []string{"L/d", "L/d/changed", "S/images", "S/images/pages-1.img", "S/trees/0", "S/trees/0/shm", "S/detail", "P/d/changed", "S/" + recordName}
	for _, file := range files {
		for what, change := range changes {
			parent := publish(t, s, nil, Meta{})
			sn := publish(t, s, parent, Meta{Name: "n"})
			check(t, sn.Verify(ctx))
			r := strings.NewReplacer("L/", sn.Layers()[1]+"/", "P/", sn.Layers()[0]+"/", "S/", s.snapshotDir(sn.id)+"/")
			check(t, change(r.Replace(file)))
			inRecord := strings.HasSuffix(file, recordName)
			if inRecord && (what == "touch" || what == "mode" || what == "attr") {
				continue // only its content counts
			}
			err := sn.Verify(ctx)
			if !errors.Is(err, Stale) && (!inRecord || what != "remove" || !errors.Is(err, rootfs.NotFound)) {
				t.Errorf("%s of %s: %v", what, file, err)
			}
			if err := s.Remove(sn.id); err != nil && !errors.Is(err, rootfs.NotFound) {
				t.Errorf("%s of %s: remove: %v", what, file, err)
			}
			check(t, s.Remove(parent.id))
		}
	}
	_, err := s.Evict(0)
	check(t, err)
	expectEmpty(t, s)
}

func TestRecordEditedByHand(t *testing.T) {
	s := openStore(t)
	sn := publish(t, s, nil, Meta{Name: "n", Kernel: "6.1"})
	name := filepath.Join(s.snapshotDir(sn.id), recordName)
	b, err := os.ReadFile(name)
	check(t, err)
	check(t, os.WriteFile(name, []byte(strings.Replace(string(b), "6.1", "6.2", 1)), 0o600))
	if err := sn.Verify(context.Background()); !errors.Is(err, Stale) {
		t.Errorf("verify: %v", err)
	}
	if _, err := s.Find(sn.id); !errors.Is(err, Stale) {
		t.Errorf("find: %v", err)
	}
	hold, err := sn.Hold()
	check(t, err)
	publish(t, s, nil, Meta{})
	if _, err := os.Stat(sn.Layers()[0]); err != nil {
		t.Errorf("its layer is removed while somebody uses it: %v", err)
	}
	if err := s.Remove(sn.id); !errors.Is(err, InUse) {
		t.Errorf("remove: %v", err)
	}
	hold.Release()
	check(t, s.Remove(sn.id))
}
