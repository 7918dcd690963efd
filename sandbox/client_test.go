package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestPullReportsProgressInOrder(t *testing.T) {
	client := startWith(t, "proper")
	var seen []int64
	info, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, func(p sandbox.Progress) { seen = append(seen, p.Current) })
	if err != nil || info.Name != "image" {
		t.Fatalf("got %+v, %v", info, err)
	}
	if len(seen) != 100 || !slices.IsSorted(seen) {
		t.Errorf("saw %v", seen)
	}
	if _, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil); err != nil {
		t.Errorf("without a progress function: %v", err)
	}
}

func TestLargeRequestsArrive(t *testing.T) {
	client := startWith(t, "proper")
	name := strings.Repeat("x", 1<<20)
	info, err := client.Pull(t.Context(), name, sandbox.ImageOptions{}, nil)
	if err != nil || info.Name != name {
		t.Errorf("got %d bytes, %v", len(info.Name), err)
	}
}

func TestErrorsKeepCodeAndRemedy(t *testing.T) {
	client := startWith(t, "proper")
	err := client.RemoveContainer(t.Context(), "nothing", false)
	if !errors.Is(err, &sandbox.Error{Code: sandbox.CodeNotFound}) || err.Error() != "remove container: none; look" {
		t.Errorf("got %v", err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, image := range []string{"odd answer", "odd failure", "odd progress"} {
		t.Run(image, func(t *testing.T) {
			client := startWith(t, "proper")
			if _, err := client.Pull(t.Context(), image, sandbox.ImageOptions{}, nil); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if _, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil); err != nil {
				t.Errorf("the next request: %v", err)
			}
		})
	}
}

func TestAnswersToNobodyAreDropped(t *testing.T) {
	client := startWith(t, "proper")
	for range 3 {
		if _, err := client.Pull(t.Context(), "answered twice", sandbox.ImageOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCancelReachesTheKeeper(t *testing.T) {
	client := startWith(t, "proper")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := client.Pull(ctx, "slow", sandbox.ImageOptions{}, nil)
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	info, err := client.Pull(t.Context(), "cancelled", sandbox.ImageOptions{}, nil)
	if err != nil || !slices.Equal(info.Notes, []string{"1"}) {
		t.Errorf("the keeper was told to cancel %v, %v", info.Notes, err)
	}
}

func TestAnEndedContextStartsNothingThatStays(t *testing.T) {
	client := startWith(t, "proper")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Pull(ctx, "slow", sandbox.ImageOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("pull: %v", err)
	}
	if err := client.RemoveContainer(ctx, "x", false); err == nil {
		t.Error("remove answered")
	}
}

func TestRequestsAreConcurrent(t *testing.T) {
	client := startWith(t, "proper")
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			name := fmt.Sprint("image ", i)
			if info, err := client.Pull(t.Context(), name, sandbox.ImageOptions{}, func(sandbox.Progress) {}); err != nil || info.Name != name {
				t.Errorf("%s: got %q, %v", name, info.Name, err)
			}
		})
		group.Go(func() {
			container, err := client.Run(t.Context(), sandbox.Spec{Args: []string{"exit", fmt.Sprint(i)}}, sandbox.Streams{}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if exit, err := container.Wait(t.Context()); err != nil || exit.Code != i {
				t.Errorf("run %d: got %+v, %v", i, exit, err)
			}
		})
	}
	group.Wait()
}

func TestCloseEndsWhatWaits(t *testing.T) {
	client := startWith(t, "proper")
	var group sync.WaitGroup
	for range 4 {
		container, err := client.Run(t.Context(), sandbox.Spec{Args: []string{"sleep"}}, sandbox.Streams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if _, err := container.Wait(t.Context()); sandbox.CodeOf(err) != sandbox.CodeProtocol {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
}
