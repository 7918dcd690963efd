package testkit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
)

// prepareFor has TestHelperThatPrepares do its work: FILE:KEY:TIER.
const prepareFor = "BIVOUAC_TESTKIT_PREPARE"

// TestHelperThatPrepares is run by other tests as a process of its own. It writes a line to the file each time that the step
// is run, and prints which snapshot it has used.
func TestHelperThatPrepares(t *testing.T) {
	parts := strings.Split(os.Getenv(prepareFor), ":")
	if len(parts) != 3 {
		return // an ordinary run
	}
	opts := []testkit.Option{testkit.Ready(testkit.Port(6379)), testkit.Prepare(parts[1], func(ctx context.Context, c *testkit.Container) error {
		f, err := os.OpenFile(parts[0], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, os.Getpid())
		return errors.Join(f.Close(), setPrepared(ctx, c))
	})}
	if parts[2] == "files" {
		opts = append(opts, testkit.FilesOnly())
	} else {
		opts = append(opts, testkit.ProcessesRequired())
	}
	c := testkit.Checkpoint(image(t, "redis:7"), opts...).Start(t)
	redisSays(t, c, "yes", "get", "prepared")
	fmt.Println("snapshot", c.Inspect().Snapshot.ID)
}

// prepares runs the helper and returns the snapshot that it has used.
func prepares(t *testing.T, file, key, tier string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestHelperThatPrepares$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%s:%s", prepareFor, file, key, tier))
	out, err := cmd.CombinedOutput()
	found := regexp.MustCompile(`snapshot ([0-9a-f]{64})\n`).FindSubmatch(out)
	if err != nil || found == nil {
		t.Errorf("%v\n%s", err, out)
		return ""
	}
	return string(found[1])
}

func timesPrepared(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// tiers are those that there are on this machine.
func tiers(t *testing.T) []string {
	t.Helper()
	image(t, "")
	if os.Getenv("BIVOUAC_CRIU") == "" {
		return []string{"files"}
	}
	return []string{"files", "processes"}
}

func TestManyProcessesPrepareOnce(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier, func(t *testing.T) {
			file, key := filepath.Join(t.TempDir(), "times"), rand.Text()
			ids := make([]string, 3)
			var all sync.WaitGroup
			for i := range ids {
				all.Go(func() { ids[i] = prepares(t, file, key, tier) })
			}
			all.Wait()
			later := prepares(t, file, key, tier)
			if n := timesPrepared(t, file); n != 1 || slices.Contains(ids, "") || len(slices.Compact(append(ids, later))) != 1 {
				t.Errorf("prepared %d times, snapshots %v and then %s", n, ids, later)
			}
		})
	}
}

func TestADamagedCheckpointIsMadeAgain(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier, func(t *testing.T) {
			file, key := filepath.Join(t.TempDir(), "times"), rand.Text()
			id := prepares(t, file, key, tier)
			damage(t, id)
			again := prepares(t, file, key, tier)
			if n := timesPrepared(t, file); n != 2 || id == again {
				t.Errorf("prepared %d times, snapshots %s and %s", n, id, again)
			}
		})
	}
}

// damage changes a byte of a snapshot.
func damage(t *testing.T, id string) {
	t.Helper()
	home := os.Getenv("BIVOUAC_HOME")
	if home == "" {
		home = filepath.Join(os.Getenv("XDG_DATA_HOME"), "bivouac")
	}
	pattern := filepath.Join(home, "snapshots/*/by-id", id, "detail")
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(found[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
}
