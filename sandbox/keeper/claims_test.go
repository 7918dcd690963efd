package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
)

// withStore is a keeper with places for snapshots, and no more.
func withStore(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{}
	var err, err2 error
	k.snapshots, err = snapshot.Open(filepath.Join(t.TempDir(), "snapshots"))
	k.ephemeral, err2 = snapshot.OpenEphemeral(filepath.Join(t.TempDir(), "ephemeral"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return k
}

// claimed takes the claim of a key that has no snapshot.
func claimed(t *testing.T, k *keeper, key string) {
	t.Helper()
	if found, err := k.takeClaim(t.Context(), key, nil); found != nil || err != nil {
		t.Fatalf("got %v, %v", found, err)
	}
}

// made is a finished draft for a claim.
func made(t *testing.T, k *keeper, key string) (*snapshot.Draft, *snapshot.Snapshot) {
	t.Helper()
	d, err := k.snapshots.Draft(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(detail{Version: detailVersion})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := d.Finish(snapshot.Meta{Key: key, Detail: text})
	if err != nil {
		t.Fatal(err)
	}
	return d, sn
}

func TestClaimEndsWithItsClient(t *testing.T) {
	k := withStore(t)
	claimed(t, k, "key")
	d, sn := made(t, k, "key")
	if err := k.claims.keep("key", d, sn); err != nil {
		t.Fatal(err)
	}
	if k.claims.pending(sn.Meta().ID) != sn {
		t.Error("it cannot be used before it is listed")
	}
	k.claims.end(k)
	if k.claims.pending(sn.Meta().ID) != nil || k.claims.keep("key", d, sn) == nil {
		t.Error("it is still there")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(sn.Layers()[0])), "*", "*"))
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := k.takeClaim(t.Context(), "key", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("claimed for a client that is gone: %v", err)
	}
	release, err := k.snapshots.LockKey(t.Context(), "key")
	if err != nil {
		t.Fatalf("it is still locked: %v", err)
	}
	release()
}

func TestClaimIsNeededBeforeAnyWork(t *testing.T) {
	k := withStore(t)
	if err := k.mayKeep(&sandbox.CheckpointSpec{Claim: "key"}); sandbox.CodeOf(err) != sandbox.CodeNotFound {
		t.Errorf("not held: %v", err)
	}
	claimed(t, k, "key")
	if err := k.mayKeep(&sandbox.CheckpointSpec{Claim: "key"}); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]sandbox.Code{"": "", "20GB": "", "much": sandbox.CodeInvalid, "0": sandbox.CodeInvalid, "-1": sandbox.CodeInvalid} {
		t.Setenv(SnapshotLimitVariable, text)
		if err := k.mayKeep(&sandbox.CheckpointSpec{}); sandbox.CodeOf(err) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSecondCheckpointTakesTheFirstsPlace(t *testing.T) {
	k := withStore(t)
	claimed(t, k, "key")
	for range 2 {
		d, sn := made(t, k, "key")
		if err := k.claims.keep("key", d, sn); err != nil {
			t.Fatal(err)
		}
		drafts, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(sn.Layers()[0])), "by-id", "*"))
		if len(drafts) != 1 || filepath.Base(drafts[0]) != sn.Meta().ID {
			t.Errorf("drafts: %v", drafts)
		}
	}
}

func TestOwnContent(t *testing.T) {
	all := sandbox.Spec{
		Image: "x:1", Get: sandbox.ImageOptions{Pull: sandbox.PullAlways, Platform: "linux/arm64"}, Name: "n", Hostname: "h",
		Labels: map[string]string{"a": "b"}, Listed: true, HoldPorts: true, Keep: true, Args: []string{"a"}, Env: []string{"A=B"},
		Publish: []sandbox.PortMapping{{HostIP: "127.0.0.2", HostPort: 80, HostPortLast: 90, Port: 8080, Protocol: "udp"}},
	}
	got, err := json.Marshal(ownContent(all))
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(sandbox.Spec{
		Get: sandbox.ImageOptions{Platform: "linux/arm64"}, Args: []string{"a"}, Env: []string{"A=B"},
		Publish: []sandbox.PortMapping{{Port: 8080, Protocol: "udp"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\ninstead of\n%s", got, want)
	}
	if all.Publish[0].HostPort != 80 || all.Labels["a"] != "b" {
		t.Error("the original was changed")
	}
}
