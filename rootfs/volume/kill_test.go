package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs"
)

// What a process does that is killed at one of its steps.
const (
	killAt   = "VOLUME_TEST_KILL_AT"
	killHome = "VOLUME_TEST_KILL_HOME"
)

func TestMain(m *testing.M) {
	n, err := strconv.Atoi(os.Getenv(killAt))
	if err != nil {
		os.Exit(m.Run())
	}
	step = func(string) {
		if n--; n == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if err := victim(os.Getenv(killHome)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func victim(home string) error {
	s := Open(home, "map")
	ctx := context.Background()
	v, use, _, err := s.Create(ctx, Options{Name: "data", User: &User{ID: someID}})
	if err != nil {
		return err
	}
	if err := v.Fill(ctx, content(0o750)); err != nil {
		return err
	}
	if err := use.Release(ctx); err != nil {
		return err
	}
	return s.Remove(ctx, "data")
}

func TestKilledAnywhere(t *testing.T) {
	for n := 1; ; n++ {
		home := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", killAt, n), killHome+"="+home)
		out, err := cmd.CombinedOutput()
		if err == nil {
			if n < 6 {
				t.Errorf("there are only %d steps", n-1)
			}
			return
		}
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
			t.Fatalf("step %d: %v\n%s", n, err, out)
		}
		afterKill(t, Open(home, "map"), n)
	}
}

// afterKill goes on with what was left: there is no volume, or one that is empty or whole once it is filled.
func afterKill(t *testing.T, s *Store, n int) {
	t.Helper()
	if v, err := s.Get("data"); err == nil {
		if users, err := v.Users(); err != nil || len(users) != 0 {
			t.Errorf("step %d: has users %v, %v", n, users, err)
		}
	} else if !errors.Is(err, rootfs.NotFound) {
		t.Errorf("step %d: %v", n, err)
	}
	v, use, _, err := s.Create(t.Context(), Options{Name: "data", User: &User{ID: someID}})
	check(t, err)
	check(t, v.Fill(t.Context(), content(0o750)))
	if got := names(t, v.Data()); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("step %d: has %v", n, got)
	}
	if st, err := os.Stat(v.Data()); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("step %d: %v %v", n, st.Mode(), err)
	}
	check(t, use.Release(t.Context()))
	check(t, s.Remove(t.Context(), "data"))
}
