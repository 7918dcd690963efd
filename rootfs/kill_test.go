package rootfs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var killTrees = []tree{
	{"dir d", "random d/a 300000", "file d/b b", "file last x"},
	{"file e e", "file last x"},
	{"random f 100000", "file last y"},
}

// TestKilledAtEveryStep ends a pull with SIGKILL at each point between two changes of the store. Whatever has its final
// name must be right at once, and the next pull must complete the rest and leave nothing behind.
func TestKilledAtEveryStep(t *testing.T) {
	r := newServer(t)
	old := imageOf(t, packedGzip, killTrees[1])
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	current := mutate.AppendManifests(index, mutate.IndexAddendum{Add: imageOf(t, packedGzip, killTrees...)})
	for _, c := range []struct {
		what   string
		before bool // the store has the image that the name meant before
	}{{"first pull", false}, {"update", true}} {
		t.Run(c.what, func(t *testing.T) {
			dir := newDir(t, r, old, c.before)
			all := child{Dir: dir, Ref: r.push(t, "k:1", current)}.run(t)
			if len(all.Layers) != 3 {
				t.Fatalf("child: %+v", all)
			}
			checkSteps(t, all.Steps)
			killed := 0
			for i := range all.Steps {
				dir := newDir(t, r, old, c.before)
				if killAt(t, dir, r.push(t, "k:1", current), int64(i+1)) {
					killed++
				}
				if t.Failed() {
					t.Fatalf("killed at step %d, %q, of %q", i+1, all.Steps[i], all.Steps)
				}
			}
			if killed < len(all.Steps)*3/4 { // what runs in parallel makes some steps more or less
				t.Errorf("killed at %d of %d steps", killed, len(all.Steps))
			}
		})
	}
}

// newDir makes a store with or without the old image. It leaves the name k:1 with the old one.
func newDir(t *testing.T, r *server, old interface{ RawManifest() ([]byte, error) }, before bool) string {
	s := openStore(t)
	if before {
		pullNow(t, s, r.push(t, "k:1", old), PullOptions{})
	}
	return s.Dir()
}

func checkSteps(t *testing.T, steps []string) {
	t.Helper()
	for _, want := range []string{"store directory made", "temporary file made", "temporary file written", "renamed",
		"partial file opened", "part of a blob written", "blob about to be named", "temporary layer made", "layer unpacked",
		"layer about to be named", "index about to change", "lock taken", "layer described"} {
		if !slices.Contains(steps, want) && (want != "store directory made") {
			t.Errorf("no step %q in %q", want, steps)
		}
	}
}

// killAt returns false if the child came to its end before that step.
func killAt(t *testing.T, dir, name string, n int64) (killed bool) {
	t.Helper()
	err := child{Dir: dir, Ref: name, KillAt: n}.start(t).Wait()
	var exit *exec.ExitError
	killed = errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if err != nil && !killed {
		t.Fatalf("child: %v", err)
	}
	s := openStoreIn(t, dir)
	fsck(t, s)
	if img, err := s.local(t.Context(), mustParse(t, name), PullOptions{}); err != nil || img != nil && !complete(img) {
		t.Errorf("right after: %+v, %v", img, err)
	}
	img, err := s.Pull(context.Background(), mustParse(t, name), PullOptions{Policy: Always})
	if err != nil {
		t.Errorf("next pull: %v", err)
	} else if len(img.Layers) != 3 || !complete(img) {
		t.Errorf("next pull: %+v", img)
	}
	if left := fsck(t, s); left != nil {
		t.Errorf("next pull left %q", left)
	}
	return killed
}

func complete(img *Image) bool {
	for _, dir := range img.Layers {
		if _, err := os.Stat(dir + "/last"); err != nil {
			return false
		}
	}
	return true
}
