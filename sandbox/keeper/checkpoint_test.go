package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func TestIsFallback(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wrapped := fmt.Errorf("restore: %w", checkpointError("it is %s", "no use"))
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"what processes have", t.Context(), wrapped, true},
		{"a cancelled request", gone, wrapped, false},
		{"a full disk", t.Context(), errors.Join(wrapped, syscall.ENOSPC), false},
		{"a fault of the machine", t.Context(), errors.New("it broke"), false},
		{"a program that has ended", t.Context(), sandbox.Errorf(sandbox.CodeAlreadyFinished, "ended"), false},
	} {
		if got := isFallback(test.ctx, test.err); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestMayCheckpoint(t *testing.T) {
	c := &container{id: newID(), spec: &sandbox.Spec{}, image: &rootfs.Image{}}
	for _, good := range []sandbox.CheckpointSpec{
		{},
		{Name: "n.1_x", Processes: sandbox.ProcessesRequired, Quality: sandbox.QualityLive, LeaveRunning: true, OmitMounts: true},
		{Ephemeral: true, Processes: sandbox.ProcessesNever, Quality: sandbox.QualityClean},
	} {
		if err := c.mayCheckpoint(&good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []sandbox.CheckpointSpec{
		{Quality: "good"}, {Processes: "perhaps"}, {Name: "-"}, {Name: "a b"}, {Ephemeral: true, Name: "n"}, {Ephemeral: true, Claim: "k"},
	} {
		if err := c.mayCheckpoint(&bad); sandbox.CodeOf(err) != sandbox.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	c.paused.Store(true)
	if err := c.mayCheckpoint(&sandbox.CheckpointSpec{}); sandbox.CodeOf(err) != sandbox.CodeInvalid {
		t.Errorf("a paused container: %v", err)
	}
	c.image.Host = true
	if err := c.mayCheckpoint(&sandbox.CheckpointSpec{}); sandbox.CodeOf(err) != sandbox.CodeUnsupported {
		t.Errorf("the host's files: %v", err)
	}
}

func TestDescends(t *testing.T) {
	parents := map[int]int{2: 1, 3: 2, 5: 4, 6: 7, 7: 6}
	for pid, want := range map[int]bool{1: true, 2: true, 3: true, 4: false, 5: false, 6: false, 9: false} {
		if descends(pid, 1, parents) != want {
			t.Errorf("%d: %v", pid, !want)
		}
	}
}

func TestScanPaths(t *testing.T) {
	paths := scanPaths(os.Getpid())
	if !slices.Contains(paths, "/etc") || slices.Contains(paths, "/proc") || slices.Contains(paths, "/sys") {
		t.Errorf("got %v", paths)
	}
	if scanPaths(-1) != nil {
		t.Error("there is no such process")
	}
}
