package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

// newTestClient starts a keeper of this test binary, see TestMain.
func newTestClient(t *testing.T) *sandbox.Client {
	t.Helper()
	if _, err := userns.Detect(); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	client, err := sandbox.Start(t.Context(), sandbox.Options{Keeper: self})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// startShell makes a container over host: that runs a script, and returns it with the reading end of its output.
func startShell(t *testing.T, client *sandbox.Client, name, script string) (*sandbox.Container, *os.File) {
	t.Helper()
	spec := sandbox.Spec{Image: hostImage, Name: name, WorkingDir: "/", Args: []string{"sh", "-c", script}}
	c, err := client.Create(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := c.Start(t.Context(), sandbox.Streams{Stdout: w, Stderr: w}); err != nil {
		t.Fatal(err)
	}
	return c, r
}

// ownRuntimeDir keeps the containers of a test apart from the machine's.
func ownRuntimeDir(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", onDisk(t))
	t.Setenv("BIVOUAC_HOME", onDisk(t))
}

func list(t *testing.T) []string {
	t.Helper()
	containers, err := sandbox.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.Name+" "+string(c.State))
	}
	return names
}

// talker says something every now and then, and would die of SIGPIPE.
const talker = "while :; do echo tick || exit 1; sleep 0.02; done"

func TestDetachedContainerOutlivesItsClient(t *testing.T) {
	ownRuntimeDir(t)
	client := newTestClient(t)
	kept, output := startShell(t, client, "kept", talker)
	other, _ := startShell(t, client, "other", "sleep 1000")
	if got := list(t); len(got) != 0 {
		t.Fatalf("found before they were detached: %q", got)
	}
	if err := kept.Detach(t.Context(), output); err != nil {
		t.Fatal(err)
	}
	if err := output.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Wait(t.Context()); sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
		t.Errorf("the other container: %v", err)
	}
	time.Sleep(200 * time.Millisecond)
	if got := strings.Join(list(t), ", "); got != "kept running" {
		t.Fatalf("found %q", got)
	}
	execAndRemove(t, "kept")
}

// execAndRemove does with a container what a later command does.
func execAndRemove(t *testing.T, name string) {
	t.Helper()
	c, err := sandbox.Attach(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.Exec(t.Context(), sandbox.ExecSpec{Args: []string{"sh", "-c", "exit 3"}}, sandbox.Streams{})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(t.Context()); err != nil || exit.Code != 3 {
		t.Errorf("executed in it: %+v, %v", exit, err)
	}
	if err := c.Discard(t.Context()); err != nil {
		t.Error(err)
	}
	if exit, err := c.Wait(t.Context()); err != nil || exit.Code != 137 {
		t.Errorf("its own program: %+v, %v", exit, err)
	}
	if got := list(t); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

// TestDetachedContainerStaysAfterItsEnd shows that one that has ended can still be looked into, and started again.
func TestDetachedContainerStaysAfterItsEnd(t *testing.T) {
	ownRuntimeDir(t)
	client := newTestClient(t)
	kept, _ := startShell(t, client, "kept", "exit 5")
	if err := kept.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := sandbox.Attach(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if exit, err := c.Wait(t.Context()); err != nil || exit.Code != 5 {
		t.Errorf("%+v, %v", exit, err)
	}
	if got := strings.Join(list(t), ", "); got != "kept exited" {
		t.Errorf("found %q", got)
	}
	if err := c.Start(t.Context(), sandbox.Streams{}); err != nil {
		t.Error(err)
	}
	if exit, err := c.Wait(t.Context()); err != nil || exit.Code != 5 {
		t.Errorf("the second time: %+v, %v", exit, err)
	}
	if err := c.Discard(t.Context()); err != nil {
		t.Error(err)
	}
	if got := list(t); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

// TestDetachedContainerOutlivesAKilledClient runs itself with a variable set, to be killed.
func TestDetachedContainerOutlivesAKilledClient(t *testing.T) {
	const variable = "BIVOUAC_TEST_DETACH"
	if os.Getenv(variable) != "" {
		c, output := startShell(t, newTestClient(t), "kept", talker)
		if err := c.Detach(t.Context(), output); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(os.Stdout, "detached\n")
		select {}
	}
	if _, err := userns.Detect(); err != nil {
		t.Skip(err)
	}
	ownRuntimeDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAtLeast(out, make([]byte, 64), len("detached")); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	time.Sleep(200 * time.Millisecond)
	if got := strings.Join(list(t), ", "); got != "kept running" {
		t.Fatalf("found %q", got)
	}
	execAndRemove(t, "kept")
}

func TestAttachFindsByNameAndId(t *testing.T) {
	ownRuntimeDir(t)
	client := newTestClient(t)
	one, _ := startShell(t, client, "one", "sleep 1000")
	two, _ := startShell(t, client, "two", "sleep 1000")
	for _, c := range []*sandbox.Container{one, two} {
		if err := c.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for wanted, code := range map[string]sandbox.Code{one.ID: "", one.ID[:30]: "", "one": "", "three": sandbox.CodeNotFound, "": sandbox.CodeNotFound} {
		c, err := sandbox.Attach(t.Context(), wanted)
		if got := sandbox.CodeOf(err); got != code {
			t.Errorf("%q: %v", wanted, err)
		}
		if err != nil {
			continue
		}
		if c.ID != one.ID {
			t.Errorf("%q: got %s", wanted, c.Name)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []*sandbox.Container{one, two} {
		if err := c.Discard(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
