package sandbox_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func spec(args ...string) sandbox.Spec { return sandbox.Spec{Image: "image", Args: args} }

func TestRunTellsOfItsStartAndEnd(t *testing.T) {
	client := startWith(t, "proper")
	container, err := client.Run(t.Context(), spec("exit", "42"), sandbox.Streams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if container.ID != "abc" || container.StopSignal != 15 || len(container.Warnings) != 1 || container.Terminal != nil {
		t.Errorf("started as %+v", container.Info)
	}
	for range 2 { // it may be asked again
		if exit, err := container.Wait(t.Context()); err != nil || exit != (sandbox.Exit{Code: 42}) {
			t.Errorf("got %+v, %v", exit, err)
		}
	}
}

func TestRunFailsAsTheKeeperSays(t *testing.T) {
	for _, test := range []struct {
		program string
		code    sandbox.Code
	}{
		{"absent", sandbox.CodeNoProgram},
		{"odd", sandbox.CodeProtocol},
		{"odd start", sandbox.CodeInternal},
	} {
		t.Run(test.program, func(t *testing.T) {
			client := startWith(t, "proper")
			container, err := client.Run(t.Context(), spec(test.program), sandbox.Streams{}, nil)
			if container != nil || sandbox.CodeOf(err) != test.code {
				t.Errorf("got %v, %v", container, err)
			}
		})
	}
}

func TestAnEndWithoutAnExitIsAnError(t *testing.T) {
	for _, program := range []string{"odd end", "crash"} {
		t.Run(program, func(t *testing.T) {
			client := startWith(t, "proper")
			container, err := client.Run(t.Context(), spec(program), sandbox.Streams{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if exit, err := container.Wait(t.Context()); err == nil {
				t.Errorf("got %+v", exit)
			}
		})
	}
}

func TestSignalsReachTheirContainer(t *testing.T) {
	client := startWith(t, "proper")
	var containers []*sandbox.Container
	for range 3 {
		container, err := client.Run(t.Context(), spec("sleep"), sandbox.Streams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		containers = append(containers, container)
	}
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGUSR1} {
		if err := containers[i].Signal(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		exit, err := containers[i].Wait(t.Context())
		if err != nil || exit.Signal != int(s) || exit.Code != 128+int(s) {
			t.Errorf("got %+v, %v after %v", exit, err, s)
		}
		if err := containers[i].Signal(t.Context(), s); sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
			t.Errorf("after its end: %v", err)
		}
	}
}

func TestWaitHeedsItsContext(t *testing.T) {
	client := startWith(t, "proper")
	container, err := client.Run(t.Context(), spec("sleep"), sandbox.Streams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := container.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// Nothing happened to the container.
	if err := container.Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func TestARunThatIsCancelledBeforeItsStart(t *testing.T) {
	client := startWith(t, "proper")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Run(ctx, spec("never"), sandbox.Streams{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	info, err := client.Pull(t.Context(), "cancelled", sandbox.ImageOptions{}, nil)
	if err != nil || !slices.Equal(info.Notes, []string{"1"}) {
		t.Errorf("the keeper was told to cancel %v, %v", info.Notes, err)
	}
}

func TestTheContextOfRunIsForItsStart(t *testing.T) {
	client := startWith(t, "proper")
	ctx, cancel := context.WithCancel(t.Context())
	container, err := client.Run(ctx, spec("sleep"), sandbox.Streams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := container.Signal(t.Context(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if exit, err := container.Wait(t.Context()); err != nil || exit.Signal != 1 {
		t.Errorf("got %+v, %v", exit, err)
	}
}

func TestStreamsAreTheFilesThemselves(t *testing.T) {
	client := startWith(t, "proper")
	in, out, err := files(t)
	if err != nil {
		t.Fatal(err)
	}
	container, err := client.Run(t.Context(), spec("copy"), sandbox.Streams{Stdin: in, Stdout: out, Stderr: out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := container.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(out.Name()); err != nil || string(text) != "inputcopied\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

// files returns one to read "input" from and an empty one.
func files(t *testing.T) (in, out *os.File, err error) {
	t.Helper()
	if in, err = os.CreateTemp(t.TempDir(), ""); err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { in.Close() })
	if out, err = os.CreateTemp(t.TempDir(), ""); err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { out.Close() })
	_, err = io.Copy(in, strings.NewReader("input"))
	_, seekErr := in.Seek(0, io.SeekStart)
	return in, out, errors.Join(err, seekErr)
}

func TestWithoutStreamsTheNullDeviceIsUsed(t *testing.T) {
	client := startWith(t, "proper")
	container, err := client.Run(t.Context(), spec("copy"), sandbox.Streams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := container.Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("got %+v, %v", exit, err)
	}
}

func TestAClosedStreamIsAnError(t *testing.T) {
	client := startWith(t, "proper")
	in, out, err := files(t)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := client.Run(t.Context(), spec("copy"), sandbox.Streams{Stdin: in, Stdout: out}, nil); err == nil {
		t.Error("a closed file was sent")
	}
	if _, err := client.Pull(t.Context(), "image", sandbox.ImageOptions{}, nil); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

func TestATerminalComesFromTheKeeper(t *testing.T) {
	client := startWith(t, "proper")
	s := spec("terminal")
	s.Terminal = &sandbox.TerminalSize{Rows: 24, Columns: 80}
	container, err := client.Run(t.Context(), s, sandbox.Streams{Stdin: os.Stdin}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer container.Terminal.Close()
	if text, err := io.ReadAll(container.Terminal); err != nil || string(text) != "80x24, 0 files" {
		t.Errorf("got %q, %v", text, err)
	}
}
