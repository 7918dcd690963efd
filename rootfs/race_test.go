package rootfs

import (
	"os/exec"
	"testing"
)

// TestProcessesDownloadOnce lets several processes pull two images that share a layer.
func TestProcessesDownloadOnce(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, bigTree, tree{"random r 500000", "file last x"}))
	other := r.push(t, "y:1", imageOf(t, packedGzip, bigTree, tree{"file last z"}))
	r.spoiled(nil)
	var running []*exec.Cmd
	for _, ref := range []string{name, name, other, name, other} {
		running = append(running, child{Dir: s.Dir(), Ref: ref}.start(t))
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, request := range r.requests("/blobs/") {
		path := request[len("GET /v2/x"):]
		if seen[path] {
			t.Errorf("downloaded again: %s", path)
		}
		seen[path] = true
	}
	if left := fsck(t, s); left != nil {
		t.Errorf("left %q", left)
	}
	if list, err := s.List(); err != nil || len(list) != 2 {
		t.Errorf("list %+v, %v", list, err)
	}
}
