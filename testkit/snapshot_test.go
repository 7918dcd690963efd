package testkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

// startedOn starts a container of an engine of the test's.
func startedOn(t *testing.T, e *fakeEngine, opts ...Option) *Container {
	t.Helper()
	s, err := collect("image:1", opts)
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(func(context.Context) (engine, error) { return e, nil })
	c, err := k.create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), k.shutdown()); err != nil {
			t.Error(err)
		}
	})
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACheckpointInTheMiddleOfATest(t *testing.T) {
	e := newFakeEngine()
	tb := &fakeTB{}
	hooks := 0
	c := startedOn(t, e, Checkpointable(), Name("mine"), AfterReady(func(context.Context, *Container) error { hooks++; return nil }))
	c.tb = tb
	s, err := c.Checkpoint(t.Context(), OmitMounts())
	if err != nil {
		t.Fatal(err)
	}
	asked := e.frozen[0]
	if !asked.LeaveRunning || !asked.Ephemeral || !asked.OmitMounts || asked.Claim != "" || !c.current().isRunning() || s.Inspect().Processes != 1 {
		t.Errorf("asked for %+v, got %+v", asked, s.Inspect())
	}
	tb.test(func() {
		for range 2 {
			clone := s.Start(tb)
			if clone == nil || clone.Inspect().Snapshot.ID != s.Inspect().ID {
				t.Error("no clone")
			}
		}
	})
	if e.restored[0].Name != "" || hooks != 1 {
		t.Errorf("restored %+v, %d hooks", e.restored, hooks)
	}
	if !strings.Contains(tb.log(), "testkit: checkpoint of image:1 (box1): processes (3.1 MB, 1 process), made in ") {
		t.Errorf("got %q", tb.log())
	}
	tb.cleanup()
	if len(e.removed) != 1 || e.alive() != 1 {
		t.Errorf("removed %v, %d alive", e.removed, e.alive())
	}
	_, err = s.New(t.Context())
	if sandbox.CodeOf(err) != sandbox.CodeNotFound {
		t.Errorf("after its end: %v", err)
	}
	if err := s.Close(); err != nil || len(e.removed) != 1 {
		t.Errorf("again: %v, %v", err, e.removed)
	}
}

func TestAForkIsATestsOwn(t *testing.T) {
	e := newFakeEngine()
	e.program, e.clone = listens, listens
	c := startedOn(t, e, Checkpointable(), Ready(Port(80).Inside()))
	tb := &fakeTB{}
	var fork *Container
	tb.test(func() { fork = c.Fork(tb, ProcessesRequired(), Hostname("fork")) })
	if fork == nil || fork.Addr(80) == c.Addr(80) || e.frozen[0].Processes != sandbox.ProcessesRequired || e.restored[0].Hostname != "fork" {
		t.Fatalf("got %v: %v", fork, tb.fatal)
	}
	tb.cleanup()
	if len(e.removed) != 1 || e.alive() != 1 || !c.current().isRunning() {
		t.Errorf("removed %v, %d alive", e.removed, e.alive())
	}
	e.tier = func(sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
		return sandbox.Snapshot{}, sandbox.Errorf(sandbox.CodeCheckpoint, "process 7 (db) uses io_uring")
	}
	tb = &fakeTB{}
	tb.test(func() { c.Fork(tb) })
	if len(tb.fatal) != 1 || !strings.Contains(tb.fatal[0], "checkpoint image:1 (box1): process 7 (db) uses io_uring") {
		t.Errorf("got %q", tb.fatal)
	}
	for want, opt := range map[string]Option{"Env": Env("a", "b"), "Pool": Pool(1)} {
		_, err := c.fork(t.Context(), tb, []Option{opt})
		expectError(t, err, want+" cannot be given to a fork")
		_, err = c.Checkpoint(t.Context(), opt)
		expectError(t, err, want+" cannot be given to a container's Checkpoint")
	}
	_, err := c.Checkpoint(t.Context(), Name("x"))
	expectError(t, err, "Name cannot be given")
}

func TestCleanFilesWaitForTheProgramThatGoesOn(t *testing.T) {
	e := newFakeEngine()
	e.tier = files
	again := make(chan struct{})
	e.program = func(p *fakeProgram) {
		fmt.Fprintln(p.stdout, "ready")
		<-again
		fmt.Fprintln(p.stdout, "ready")
		p.run()
	}
	c := startedOn(t, e, Ready(LogLine("ready")))
	waiting := 0
	e.tier = func(spec sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
		waiting++
		return files(spec)
	}
	go close(again)
	s, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Logs(); got != "ready\nready\n" || s.Inspect().Fallback == "" {
		t.Errorf("got %q, %+v", got, s.Inspect())
	}
}

func TestQuiesceIsUndone(t *testing.T) {
	e := newFakeEngine()
	var order []string
	hook := func(name string, err error) Hook {
		return func(context.Context, *Container) error {
			order = append(order, name)
			return err
		}
	}
	c := startedOn(t, e, Quiesce(hook("flush", nil), nil), Quiesce(hook("lock", nil), hook("unlock", nil)))
	fork := func(opts ...Option) error {
		order = nil
		f, err := c.fork(t.Context(), nil, opts)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	expect := func(want string) {
		t.Helper()
		if got := strings.Join(order, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if err := fork(Quiesce(hook("2", nil), hook("-2", nil))); err != nil {
		t.Fatal(err)
	}
	expect("flush lock 2 -2 unlock -2 unlock")
	if err := fork(FilesOnly()); err != nil {
		t.Fatal(err)
	}
	expect("flush lock")
	if err := fork(FilesOnly(), Live()); err != nil {
		t.Fatal(err)
	}
	expect("flush lock unlock")
	expectError(t, fork(Quiesce(hook("no", errors.New("locked")), hook("never", nil))), "Quiesce before the checkpoint: locked")
	expect("flush lock no unlock")
	e.tier = func(sandbox.CheckpointSpec) (sandbox.Snapshot, error) {
		return sandbox.Snapshot{}, sandbox.Errorf(sandbox.CodeNoSpace, "disk full")
	}
	expectError(t, fork(), "disk full")
	expect("flush lock unlock")
}

func TestResetPutsACloneBackInPlace(t *testing.T) {
	e := newFakeEngine()
	n := 0
	e.program = listens
	e.clone = func(p *fakeProgram) {
		n++
		fmt.Fprintln(p.stdout, "life", n)
		listens(p)
	}
	hooks := 0
	p := preparedOn(t, e, StopGrace(0), Ready(Port(80).Inside()), AfterReady(func(context.Context, *Container) error { hooks++; return nil }))
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	address, first := c.Addr(80), c.current()
	waitUntil(t, func() bool { return c.Logs() == "life 1\n" })
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return c.Logs() == "life 1\nlife 2\n" })
	if c.Addr(80) != address || !first.hasEnded() || c.ExitCode() != -1 || hooks != 2 || e.boxes[1].resets != 1 {
		t.Errorf("%s became %s, %d hooks, %d resets", address, c.Addr(80), hooks, e.boxes[1].resets)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Reset(t.Context()); err != nil || c.ExitCode() != -1 {
		t.Errorf("of one that has ended: %v", err)
	}
	other := startedOn(t, newFakeEngine())
	err = other.Reset(t.Context())
	expectError(t, err, "does not come from a checkpoint", "Fork")
	if sandbox.CodeOf(err) != sandbox.CodeInvalid {
		t.Errorf("code %s", sandbox.CodeOf(err))
	}
}

func TestARestartedCloneIsWaitedForInFull(t *testing.T) {
	e := newFakeEngine()
	e.program = runsAfter("ready")
	e.clone = func(p *fakeProgram) {
		if e.boxes[1].starts > 1 {
			fmt.Fprintln(p.stdout, "ready")
		}
		p.run()
	}
	p := preparedOn(t, e, Ready(LogLine("ready")), StopGrace(0))
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Restart(t.Context()); err != nil || c.Logs() != "ready\n" {
		t.Errorf("got %v, %q", err, c.Logs())
	}
}

func TestTheEvidenceOfACloneNamesItsCheckpoint(t *testing.T) {
	e := newFakeEngine()
	c, err := preparedOn(t, e, Env("A", "b")).New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := "reproduce: bivouac restore 000000000000 # a checkpoint (processes) of: bivouac run -e A=b -P image:1\n"
	if got := c.Evidence(t.Context()); !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
	fork, err := c.fork(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fork.Close()
	want = "reproduce: bivouac run -e A=b -P image:1 # this is a clone of a checkpoint of it (processes), which ends with the test\n"
	if got := fork.Evidence(t.Context()); !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
}
