package testkit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// count makes a step that counts how often it is run.
func count(n *atomic.Int32) Hook {
	return func(context.Context, *Container) error {
		n.Add(1)
		return nil
	}
}

func TestManyTestsGetClonesOfOneOriginal(t *testing.T) {
	e := newFakeEngine()
	e.program, e.clone = func(p *fakeProgram) {
		fmt.Fprintln(p.stdout, "ready")
		listens(p)
	}, listens
	var prepared atomic.Int32
	p := preparedOn(t, e, Ready(LogLine("ready"), Port(80).Inside()), Prepare("v1", count(&prepared)))
	if e.counts() != "0 created, 0 frozen, 0 restored" {
		t.Fatal("Checkpoint has done something")
	}
	tbs := make([]*fakeTB, 8)
	addresses := map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range tbs {
		tbs[i] = &fakeTB{name: fmt.Sprint("Test", i)}
		all.Go(func() {
			tbs[i].test(func() {
				c := p.Start(tbs[i])
				mu.Lock()
				defer mu.Unlock()
				addresses[c.Addr(80)] = true
				if c.Logs() != "" || c.Inspect().Snapshot == nil || c.Inspect().Snapshot.Tier != sandbox.TierProcesses {
					t.Errorf("log %q, snapshot %v", c.Logs(), c.Inspect().Snapshot)
				}
			})
		})
	}
	all.Wait()
	if e.counts() != "1 created, 1 frozen, 8 restored" || prepared.Load() != 1 || len(addresses) != 8 {
		t.Errorf("%s, prepared %d times, addresses %v", e.counts(), prepared.Load(), addresses)
	}
	logs := ""
	for _, tb := range tbs {
		logs += tb.log()
		tb.cleanup()
		if tb.Failed() {
			t.Error(tb.fatal)
		}
	}
	if strings.Count(logs, "testkit: checkpoint of image:1: processes (3.1 MB, 1 process), made in ") != 1 {
		t.Errorf("got the log %q", logs)
	}
	if n := e.alive(); n > 0 {
		t.Errorf("%d containers are left after the tests", n)
	}
	if !e.created[0].Checkpointable || !e.frozen[0].LeaveRunning || e.frozen[0].Claim == "" || !e.restored[0].HoldPorts {
		t.Errorf("asked for %+v, %+v, %+v", e.created[0], e.frozen[0], e.restored[0])
	}
}

func TestACheckpointOfAnEarlierRunIsUsed(t *testing.T) {
	e := newFakeEngine()
	e.program, e.clone = listens, listens
	var prepared atomic.Int32
	opts := []Option{Ready(Port(80).Inside()), Prepare("v1", count(&prepared))}
	for range 2 {
		c, err := preparedOn(t, e, opts...).New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if e.counts() != "1 created, 1 frozen, 2 restored" || prepared.Load() != 1 {
		t.Errorf("%s, prepared %d times", e.counts(), prepared.Load())
	}
}

func TestFilesStartTheirProgramAnew(t *testing.T) {
	e := newFakeEngine()
	e.tier = files
	e.program, e.clone = runsAfter("ready"), runsAfter("ready")
	p := preparedOn(t, e, Ready(LogLine("ready")))
	tb := &fakeTB{}
	tb.test(func() {
		if c := p.Start(tb); c.Logs() != "ready\n" {
			t.Errorf("got %q", c.Logs())
		}
	})
	tb.cleanup()
	if !strings.Contains(tb.log(), "image:1: files only (1.0 kB, clean), made in ") || !strings.Contains(tb.log(), "s: the program uses io_uring (process 100 mariadbd)") {
		t.Errorf("got %q", tb.log())
	}
}

// runsAfter makes a program that prints and runs on.
func runsAfter(line string) func(*fakeProgram) {
	return func(p *fakeProgram) {
		fmt.Fprintln(p.stdout, line)
		p.run()
	}
}

func TestProcessesThatDoNotGetReadyFallBackToFiles(t *testing.T) {
	e := newFakeEngine()
	fails := map[string]func(s sandbox.Snapshot, _ int) error{
		"revive": func(s sandbox.Snapshot, _ int) error {
			if s.Tier == sandbox.TierProcesses {
				return sandbox.Errorf(sandbox.CodeCheckpoint, "process 7 has vanished")
			}
			return nil
		},
	}
	e.revive = fails["revive"]
	e.program, e.clone = runsAfter("ready"), runsAfter("ready")
	var prepared atomic.Int32
	p := preparedOn(t, e, Ready(LogLine("ready")), Prepare("v1", count(&prepared)))
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.Inspect().Snapshot
	if s.Tier != sandbox.TierFiles || !strings.Contains(s.Fallback, "process 7 has vanished") || prepared.Load() != 1 {
		t.Errorf("got %+v, prepared %d times", s, prepared.Load())
	}
	if len(e.frozen) != 2 || e.frozen[1].Processes != sandbox.ProcessesNever || e.frozen[1].LeaveRunning {
		t.Errorf("asked for %+v", e.frozen)
	}

	e = newFakeEngine()
	e.revive = fails["revive"]
	_, err = preparedOn(t, e, ProcessesRequired()).New(t.Context())
	expectError(t, err, "checkpoint image:1", "process 7 has vanished")
	if sandbox.CodeOf(err) != sandbox.CodeCheckpoint || len(e.store) > 0 || e.frozen[0].LeaveRunning {
		t.Errorf("code %s, stored %v, asked for %+v", sandbox.CodeOf(err), e.store, e.frozen)
	}
}

func TestAFirstCloneIsCheckedInFull(t *testing.T) {
	e := newFakeEngine()
	checks := 0
	e.health = func([]string) int { checks++; return 0 }
	e.program, e.clone = func(p *fakeProgram) {
		fmt.Fprintln(p.stdout, "ready")
		listens(p)
	}, listens
	p := preparedOn(t, e, Ready(All(LogLine("ready"), Exec("check")), Any(LogLine("ready"), FileExists("/never"))))
	for range 3 {
		c, err := p.New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if checks != 2 {
		t.Errorf("the command was run %d times: want once in the original and once in the first clone", checks)
	}
}

func TestAStaleCheckpointIsMadeAgainOnce(t *testing.T) {
	for _, code := range []sandbox.Code{sandbox.CodeStale, sandbox.CodeCheckpoint} {
		e := newFakeEngine()
		p := preparedOn(t, e)
		c, err := p.New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		stale := p.found.snapshot.ID
		e.revive = func(s sandbox.Snapshot, _ int) error {
			if s.ID == stale {
				return sandbox.Errorf(code, "it was edited by hand")
			}
			return nil
		}
		tb := &fakeTB{}
		tb.test(func() { p.Start(tb) })
		tb.cleanup()
		if tb.Failed() || len(e.removed) != 1 || e.removed[0] != stale || len(e.created) != 2 {
			t.Errorf("%s: failed %v, removed %v, %d created", code, tb.fatal, e.removed, len(e.created))
		}
		if !strings.Contains(tb.log(), "cannot be used and is made again") || !strings.Contains(tb.log(), "it was edited by hand") {
			t.Errorf("got %q", tb.log())
		}
		e.revive = func(sandbox.Snapshot, int) error { return sandbox.Errorf(code, "it is broken for good") }
		_, err = p.New(t.Context())
		expectError(t, err, "broken for good")
	}
}

func TestACheckpointThatWasEvictedIsMadeAgain(t *testing.T) {
	e := newFakeEngine()
	p := preparedOn(t, e)
	for range 2 {
		c, err := p.New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		_ = e.RemoveSnapshot(t.Context(), c.Inspect().Snapshot.ID)
	}
	if len(e.created) != 2 {
		t.Error(e.counts())
	}
}

func TestAFailureIsNotKept(t *testing.T) {
	e := newFakeEngine()
	fail := true
	p := preparedOn(t, e, Prepare("v1", func(_ context.Context, c *Container) error {
		if fail {
			return errors.New("no such table")
		}
		return nil
	}))
	tb := &fakeTB{}
	tb.test(func() { p.Start(tb) })
	if len(tb.fatal) != 1 {
		t.Fatalf("got %v", tb.fatal)
	}
	expectError(t, errors.New(tb.fatal[0]), "checkpoint image:1", `Prepare("v1"): no such table`)
	if n := e.alive(); n > 0 || len(e.store) > 0 {
		t.Errorf("%d containers are left, stored %v", n, e.store)
	}
	fail = false
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestAStepThatEndsItsGoroutine(t *testing.T) {
	e := newFakeEngine()
	p := preparedOn(t, e, Prepare("v1", func(context.Context, *Container) error {
		runtime.Goexit() // as t.Fatal does
		return nil
	}))
	_, err := p.New(t.Context())
	expectError(t, err, "let it return an error")
	if n := e.alive(); n > 0 {
		t.Errorf("%d containers are left", n)
	}
}

func TestAStepIsToldThatTheProgramHasEnded(t *testing.T) {
	e := newFakeEngine()
	end := make(chan struct{})
	e.program = func(p *fakeProgram) {
		<-end
		fmt.Fprintln(p.stdout, "oops")
		p.exit.Code = 3
	}
	p := preparedOn(t, e, Prepare("v1", func(ctx context.Context, _ *Container) error {
		close(end)
		<-ctx.Done()
		return errors.New("no answer")
	}))
	_, err := p.New(t.Context())
	expectError(t, err, "no answer", "exited with code 3", "    oops")
}

func TestATestThatGivesUpLeavesTheMakingToOthers(t *testing.T) {
	e := newFakeEngine()
	begun, proceed := make(chan struct{}), make(chan struct{})
	var lost atomic.Bool
	p := preparedOn(t, e, Prepare("v1", func(ctx context.Context, _ *Container) error {
		close(begun)
		select {
		case <-proceed:
			return nil
		case <-ctx.Done():
			lost.Store(true)
			return ctx.Err()
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		_, err := p.New(ctx)
		expectError(t, err, `checkpoint image:1: Prepare("v1"): context canceled`)
		close(proceed)
	})
	all.Go(func() {
		<-begun
		c, err := p.New(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})
	<-begun
	waitUntil(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.flight.waiting == 2
	})
	cancel()
	all.Wait()
	if lost.Load() || len(e.created) != 1 {
		t.Errorf("lost %v, %s", lost.Load(), e.counts())
	}
}

func TestNobodyWaitsForIt(t *testing.T) {
	e := newFakeEngine()
	begun := make(chan struct{}, 2)
	var hang atomic.Bool
	hang.Store(true)
	p := preparedOn(t, e, Prepare("v1", func(ctx context.Context, _ *Container) error {
		begun <- struct{}{}
		if !hang.Load() {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	_, err := p.New(ctx)
	expectError(t, err, "context canceled")
	hang.Store(false)
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	waitUntil(t, func() bool { return e.alive() == 0 })
}

// waitUntil waits for what must soon be so.
func waitUntil(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has not come to that")
		}
	}
}
