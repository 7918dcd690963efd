package sandbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bivouac-run/bivouac/sandbox"
)

// startWith starts a fake keeper and sees to its end.
func startWith(t *testing.T, behaviour string) *sandbox.Client {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	client, err := sandbox.Start(t.Context(), sandbox.Options{Keeper: self(t), Env: []string{behaviourVariable + "=" + behaviour}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAKeeperThatCannotWorkFailsTheFirstRequest(t *testing.T) {
	for _, test := range []struct {
		behaviour string
		code      sandbox.Code
		text      string
	}{
		{"dead", sandbox.CodeProtocol, "the keeper ended (exit status 3)"},
		{"refuses", sandbox.CodeUnsupported, "bivouac: make namespaces: not permitted; permit them"},
		{"future", sandbox.CodeProtocol, "(version 9.9.9) speaks protocol 99, this program 4; install the bivouac command of version " + sandbox.Version},
		{"rude", sandbox.CodeProtocol, `answered "howdy" instead of a greeting`},
		{"empty", sandbox.CodeProtocol, `answered "hello" instead of a greeting`},
		{"noise", sandbox.CodeProtocol, "talk to the keeper: parse message"},
		{"noise after the greeting", sandbox.CodeProtocol, "talk to the keeper: parse message"},
		{"missing memory", sandbox.CodeProtocol, "its memory file is missing"},
		{"dies in a request", sandbox.CodeUnsupported, "keeper: out of memory"},
	} {
		t.Run(test.behaviour, func(t *testing.T) {
			client := startWith(t, test.behaviour)
			for range 2 { // and every one after it
				_, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil)
				if sandbox.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
					t.Fatalf("got %s %v, want %s with %q", sandbox.CodeOf(err), err, test.code, test.text)
				}
			}
			if err := client.RemoveContainer(t.Context(), "name", false); sandbox.CodeOf(err) != test.code {
				t.Errorf("another request: %v", err)
			}
		})
	}
}

func TestOnlyTheLastWordsOfAKeeperAreKept(t *testing.T) {
	client := startWith(t, "chatters")
	_, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil)
	if err == nil || !strings.HasSuffix(err.Error(), "line 4999") || len(err.Error()) > 8<<10 {
		t.Errorf("got %d bytes, %.60v", len(err.Error()), err)
	}
}

func TestAKeeperThatNeverAnswersCanBeLeft(t *testing.T) {
	client := startWith(t, "mute")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Pull(ctx, "image", sandbox.ImageOptions{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAKeeperThatCannotBeStarted(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": "/no/such/bivouac", "not executable": text, "a directory": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			client, err := sandbox.Start(t.Context(), sandbox.Options{Keeper: path})
			if client != nil || sandbox.CodeOf(err) != sandbox.CodeProtocol {
				t.Fatalf("got %v, %v", client, err)
			}
			for _, part := range []string{path, "$BIVOUAC"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not name %s", err, part)
				}
			}
		})
	}
}

func TestTheKeeperIsLookedFor(t *testing.T) {
	empty, full := t.TempDir(), t.TempDir()
	t.Setenv("PATH", empty)
	t.Setenv("BIVOUAC", "")
	t.Setenv(behaviourVariable, "proper")
	_, err := sandbox.Start(t.Context(), sandbox.Options{})
	if sandbox.CodeOf(err) != sandbox.CodeProtocol || !strings.Contains(err.Error(), "go get -tool") {
		t.Fatalf("without any: %v", err)
	}

	if err := os.Symlink(self(t), filepath.Join(full, "bivouac")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", full)
	expectStart(t, "on $PATH")

	t.Setenv("PATH", empty)
	t.Setenv("BIVOUAC", self(t))
	expectStart(t, "in $BIVOUAC")

	t.Setenv("BIVOUAC", "/no/such/bivouac")
	if _, err := sandbox.Start(t.Context(), sandbox.Options{}); sandbox.CodeOf(err) != sandbox.CodeProtocol {
		t.Errorf("a wrong $BIVOUAC was passed over: %v", err)
	}
}

func expectStart(t *testing.T, where string) {
	t.Helper()
	client, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	defer client.Close()
	if _, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

func TestCloseIsIdempotent(t *testing.T) {
	client := startWith(t, "proper")
	for range 3 {
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	}
	client.Abandon()
	if _, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil); sandbox.CodeOf(err) != sandbox.CodeProtocol {
		t.Errorf("a request after the end: %v", err)
	}
}

func TestCloseByManyAtOnce(t *testing.T) {
	client := startWith(t, "proper")
	results := make(chan error)
	for range 8 {
		go func() { results <- client.Close() }()
	}
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestAbandonEndsTheKeeper(t *testing.T) {
	client := startWith(t, "proper")
	container, err := client.Run(t.Context(), sandbox.Spec{Args: []string{"sleep"}}, sandbox.Streams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client.Abandon()
	if _, err := container.Wait(t.Context()); sandbox.CodeOf(err) != sandbox.CodeProtocol {
		t.Errorf("got %v", err)
	}
}
