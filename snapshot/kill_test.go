package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// life is what a process does that is killed at each step: with a snapshot on top of another one under the same name and
// key, a draft that is discarded, and a removal.
func life(dir string) error {
	ctx := context.Background()
	s, err := Open(dir)
	if err != nil {
		return err
	}
	old, err := s.Find("n")
	if err != nil {
		return err
	}
	d, err := s.Draft(ctx, old)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.Layer(), "f"), []byte("x"), 0o600); err != nil {
		return err
	}
	images, err := d.Images()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(images, "f"), []byte("x"), 0o600); err != nil {
		return err
	}
	step("filled")
	sn, err := d.Finish(Meta{Name: "n", Key: "k"})
	if err != nil {
		return err
	}
	if err := sn.Publish(); err != nil {
		return err
	}
	step("published")
	other, err := s.Draft(ctx, nil)
	if err != nil {
		return err
	}
	return errors.Join(other.Discard(), s.Remove(sn.id))
}

func init() {
	tasks["life"] = func(args []string) error {
		var killAt, n int
		if _, err := fmt.Sscan(args[1], &killAt); err != nil {
			return err
		}
		var names []string
		step = func(name string) {
			names = append(names, name)
			if n++; n == killAt {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		err := life(args[0])
		fmt.Print(strings.Join(names, "\n"))
		return err
	}
}

// TestKilledAtEveryStep ends a process with SIGKILL at each point between two changes of the store. What is listed must be
// right at once, and the next draft must leave nothing of what was not.
func TestKilledAtEveryStep(t *testing.T) {
	fresh := func() *Store {
		s := openStore(t)
		publish(t, s, nil, Meta{Name: "n", Key: "k"})
		return s
	}
	s := fresh()
	out, err := child(t, "life", s.dir, "0").Output()
	check(t, err)
	expectEmpty(t, s)
	steps := strings.Split(string(out), "\n")
	if len(steps) < 12 {
		t.Fatalf("only %q", steps)
	}
	for i, name := range steps {
		s := fresh()
		if err := child(t, "life", s.dir, fmt.Sprint(i+1)).Run(); !isKilled(err) {
			t.Fatalf("step %d, %s: %v", i+1, name, err)
		}
		list, err := s.List()
		check(t, err)
		for _, sn := range list {
			if err := sn.Verify(context.Background()); err != nil {
				t.Errorf("killed at %q: %v", name, err)
			}
		}
		if len(list) == 0 && i < len(steps)-4 || len(list) > 2 {
			t.Errorf("killed at %q: %d are listed", name, len(list))
		}
		if sn, err := s.ByKey("k"); err != nil || sn == nil && len(list) > 0 {
			t.Errorf("killed at %q: by key %v, %v", name, sn, err)
		}
		checkSwept(t, s, name)
	}
}

func checkSwept(t *testing.T, s *Store, killedAt string) {
	t.Helper()
	again, err := Open(s.dir) // a store sweeps once
	check(t, err)
	d, err := again.Draft(context.Background(), nil)
	check(t, err, d.Discard())
	list, err := again.List()
	check(t, err)
	layers := map[string]bool{}
	for _, sn := range list {
		check(t, sn.Verify(context.Background()))
		for _, dir := range sn.Layers() {
			layers[dir] = true
		}
	}
	expectOnly(t, again, len(list), len(layers))
	if t.Failed() {
		t.Fatalf("killed at %q", killedAt)
	}
}
