package sandbox_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func create(t *testing.T, client *sandbox.Client, args ...string) *sandbox.Container {
	t.Helper()
	ct, err := client.Create(t.Context(), spec(args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ct
}

func expectCode(t *testing.T, err error, want sandbox.Code) {
	t.Helper()
	if sandbox.CodeOf(err) != want {
		t.Errorf("got %q (%v), want %q", sandbox.CodeOf(err), err, want)
	}
}

func TestAContainerIsThereBeforeItsProgram(t *testing.T) {
	client := startWith(t, "proper")
	var notes []string
	ct, err := client.Create(t.Context(), spec("exit", "5"), func(p sandbox.Progress) { notes = append(notes, p.Text) })
	if err != nil || ct.ID != "def" || len(ct.Args) != 2 || len(notes) != 1 {
		t.Fatalf("got %+v, %v, %v", ct, notes, err)
	}
	_, err = ct.Wait(t.Context())
	expectCode(t, err, sandbox.CodeNotRunning)
	for range 2 { // it may be started again
		if err := ct.Start(t.Context(), sandbox.Streams{}); err != nil {
			t.Fatal(err)
		}
		if exit, err := ct.Wait(t.Context()); err != nil || exit.Code != 5 {
			t.Errorf("got %+v, %v", exit, err)
		}
	}
}

func TestACreationThatFails(t *testing.T) {
	client := startWith(t, "proper")
	_, err := client.Create(t.Context(), sandbox.Spec{Image: "absent"}, nil)
	expectCode(t, err, sandbox.CodeNotFound)
	if ct, err := client.Create(t.Context(), sandbox.Spec{Image: "odd"}, nil); err == nil || ct != nil {
		t.Errorf("got %v, %v", ct, err)
	}
	_, err = client.Create(t.Context(), sandbox.Spec{Image: "image", Labels: map[string]string{"a": "\xff"}}, nil)
	expectCode(t, err, sandbox.CodeInvalid)
}

func TestAStartThatFails(t *testing.T) {
	client := startWith(t, "proper")
	for program, code := range map[string]sandbox.Code{"absent": sandbox.CodeNoProgram, "odd": sandbox.CodeProtocol} {
		ct := create(t, client, program)
		expectCode(t, ct.Start(t.Context(), sandbox.Streams{}), code)
		_, err := ct.Wait(t.Context())
		expectCode(t, err, sandbox.CodeNotRunning)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := create(t, client, "never").Start(ctx, sandbox.Streams{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDiscardEndsTheProgramAndIsIdempotent(t *testing.T) {
	client := startWith(t, "proper")
	ct := create(t, client, "sleep")
	if err := ct.Start(t.Context(), sandbox.Streams{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ct.Discard(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if exit, err := ct.Wait(t.Context()); err != nil || exit.Signal != 9 {
		t.Errorf("got %+v, %v", exit, err)
	}
	expectCode(t, ct.Start(t.Context(), sandbox.Streams{}), sandbox.CodeAlreadyFinished)
	expectCode(t, ct.Pause(t.Context()), sandbox.CodeAlreadyFinished)
}

func TestPauseAndResumeReachTheKeeper(t *testing.T) {
	ct := create(t, startWith(t, "proper"), "sleep")
	for range 2 {
		if err := errors.Join(ct.Pause(t.Context()), ct.Resume(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

func TestExecGivesAProcessOfItsOwn(t *testing.T) {
	ct := create(t, startWith(t, "proper"), "sleep")
	if err := ct.Start(t.Context(), sandbox.Streams{}); err != nil {
		t.Fatal(err)
	}
	_, err := ct.Exec(t.Context(), sandbox.ExecSpec{Args: []string{"absent"}}, sandbox.Streams{})
	expectCode(t, err, sandbox.CodeNoProgram)
	_, err = ct.Exec(t.Context(), sandbox.ExecSpec{Args: []string{"\xff"}}, sandbox.Streams{})
	expectCode(t, err, sandbox.CodeInvalid)
	p, err := ct.Exec(t.Context(), sandbox.ExecSpec{Args: []string{"sleep"}}, sandbox.Streams{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(t.Context(), syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if exit, err := p.Wait(t.Context()); err != nil || exit.Signal != int(syscall.SIGINT) {
		t.Errorf("got %+v, %v", exit, err)
	}
	expectCode(t, p.Signal(t.Context(), syscall.SIGINT), sandbox.CodeAlreadyFinished)
	if err := ct.Signal(t.Context(), syscall.SIGTERM); err != nil { // the container's own still runs
		t.Error(err)
	}
}

func TestExecWithATerminal(t *testing.T) {
	ct := create(t, startWith(t, "proper"), "sleep")
	x := sandbox.ExecSpec{Args: []string{"terminal"}, Terminal: &sandbox.TerminalSize{Rows: 24, Columns: 80}}
	p, err := ct.Exec(t.Context(), x, sandbox.Streams{Stdin: os.Stdin})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Terminal.Close()
	if text, err := io.ReadAll(p.Terminal); err != nil || string(text) != "80x24, 0 files" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestManyStartsTakeTurns(t *testing.T) {
	client := startWith(t, "proper")
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			ct, err := client.Create(t.Context(), spec("exit", "0"), nil)
			if err == nil {
				err = ct.Start(t.Context(), sandbox.Streams{})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
