package keeper

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
	"github.com/bivouac-run/bivouac/snapshot/criu"
)

// withCRIU is a keeper that has found a CRIU of a version.
func withCRIU(t *testing.T, version criu.Version) *keeper {
	t.Helper()
	k := &keeper{}
	k.criu.once.Do(func() { k.criu.found = &criu.Installation{Version: version} })
	return k
}

func TestProcessesOfAnotherMachineAreStale(t *testing.T) {
	k := withCRIU(t, criu.Oldest)
	here, err := k.machine()
	if err != nil {
		t.Fatal(err)
	}
	same := snapshot.Meta{ID: strings.Repeat("a", 64), HasImages: true, Kernel: here.kernel, CPU: here.cpu, CRIU: here.criu}
	if err := k.checkMachine(same); err != nil {
		t.Errorf("the same machine: %v", err)
	}
	for what, change := range map[string]func(*snapshot.Meta){
		"kernel":    func(m *snapshot.Meta) { m.Kernel = "6.8.0" },
		"processor": func(m *snapshot.Meta) { m.CPU = "0123456789abcdef" },
		"CRIU":      func(m *snapshot.Meta) { m.CRIU = "9.9" },
	} {
		other := same
		change(&other)
		err := k.checkMachine(other)
		if sandbox.CodeOf(err) != sandbox.CodeStale || !strings.Contains(err.Error(), "another "+what) {
			t.Errorf("another %s: %v", what, err)
		}
		other.HasImages = false
		if err := k.checkMachine(other); err != nil {
			t.Errorf("files alone, another %s: %v", what, err)
		}
	}
}

func TestProcessesWithoutCRIU(t *testing.T) {
	k := &keeper{}
	k.criu.once.Do(func() { k.criu.err = &criu.NotFoundError{} })
	err := k.checkMachine(snapshot.Meta{HasImages: true})
	if sandbox.CodeOf(err) != sandbox.CodeCheckpoint || !strings.Contains(err.Error(), criu.Variable) {
		t.Errorf("got %v", err)
	}
}

func TestReadDetail(t *testing.T) {
	whole := detail{Version: detailVersion, Single: true, Tree: &frozenTree{Root: 100, LastPID: 107, Streams: [3]string{"pipe:[7]", "", "/dev/null"}}}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	d, err := readDetail(snapshot.Meta{Detail: text, HasImages: true})
	if err != nil || *d.Tree != *whole.Tree || !d.Single {
		t.Errorf("got %+v, %v", d, err)
	}
	for what, m := range map[string]snapshot.Meta{
		"no JSON":              {Detail: []byte("{"), HasImages: true},
		"nothing":              {},
		"another version":      {Detail: []byte(`{"version":999,"tree":{}}`), HasImages: true},
		"a tree, no images":    {Detail: text},
		"images without trees": {Detail: []byte(`{"version":1}`), HasImages: true},
	} {
		if _, err := readDetail(m); sandbox.CodeOf(err) != sandbox.CodeStale {
			t.Errorf("%s: %v", what, err)
		}
	}
}
