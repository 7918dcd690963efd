package keeper

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

// rest makes what a killed keeper leaves of a container that it makes, and returns its lock.
func (k *keeper) rest(t *testing.T, id, name string) *os.File {
	t.Helper()
	var lock *os.File
	err := k.alone(func() (err error) {
		dir := filepath.Join(k.containersDir(), id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if lock, err = lockDirectory(dir); err != nil {
			return err
		}
		return k.linkName(name, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func (k *keeper) checked(t *testing.T, repair bool) []sandbox.StoreProblem {
	t.Helper()
	c := &storeCheck{k: k, ctx: t.Context(), repair: repair}
	for _, part := range []func() error{c.rests, c.names, c.containers} {
		if err := part(); err != nil {
			t.Fatal(err)
		}
	}
	return c.out.Problems
}

func TestACheckLeavesAloneWhatIsBeingMade(t *testing.T) {
	k := testKeeper(t)
	lock := k.rest(t, testID("a"), "a")
	if problems := k.checked(t, true); problems != nil {
		t.Errorf("a container that is being made is %+v", problems)
	}
	_ = lock.Close()
	if problems := k.checked(t, false); len(problems) != 2 {
		t.Errorf("the rest of one is %+v", problems)
	}
	for _, p := range k.checked(t, true) {
		if !p.Repaired || p.Kind != "leftover" {
			t.Errorf("the rest of one is %+v", p)
		}
	}
	if problems := k.checked(t, false); problems != nil {
		t.Errorf("after repair there is %+v", problems)
	}
}

func TestACheckFindsTheNameOfHalfARename(t *testing.T) {
	k := testKeeper(t)
	id := testID("a")
	dir := k.keepTest(t, id, "a", sandbox.RecordState{State: sandbox.StateCreated})
	if err := os.Mkdir(filepath.Join(dir, "upper"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.alone(func() error { return k.linkName("b", id) }); err != nil {
		t.Fatal(err)
	}
	if problems := k.checked(t, true); len(problems) != 1 || problems[0].Name != "b" || !problems[0].Repaired {
		t.Errorf("found %+v", problems)
	}
	if _, err := os.Lstat(k.nameLink("a")); err != nil {
		t.Errorf("its own name: %v", err)
	}
	if problems := k.checked(t, false); problems != nil {
		t.Errorf("after repair there is %+v", problems)
	}
}
