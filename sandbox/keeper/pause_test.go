package keeper

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// cgroupWith imitates a cgroup by files.
func cgroupWith(t *testing.T, events string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"cgroup.freeze": "0", "cgroup.events": events} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFreezeWaitsUntilAllIsFrozen(t *testing.T) {
	dir := cgroupWith(t, "populated 1\nfrozen 0\n")
	frozen := time.AfterFunc(20*time.Millisecond, func() {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.events"), []byte("populated 1\nfrozen 1\n"), 0o600)
	})
	if err := freeze(t.Context(), dir); err != nil || frozen.Stop() {
		t.Errorf("it returned early: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze")); err != nil || !strings.HasPrefix(string(text), "1") {
		t.Errorf("asked with %q, %v", text, err)
	}
}

func TestFreezeGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := freeze(ctx, cgroupWith(t, "frozen 0\n")); sandbox.CodeOf(err) != sandbox.CodeInternal {
		t.Errorf("got %v", err)
	}
	if err := freeze(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
