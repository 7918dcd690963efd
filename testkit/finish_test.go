package testkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestAFailedTestGetsTheEvidence(t *testing.T) {
	b := &fakeBox{
		program: func(p *fakeProgram) {
			for i := range 80 {
				fmt.Fprintf(p.stdout, "line %d \x1b[31m\n", i)
			}
			p.run()
		},
		changes: []sandbox.Change{{Path: "/data/new\x1b", Kind: sandbox.ChangeAdded}},
	}
	tb := &fakeTB{name: "TestMine"}
	c := launched(t, b, Ready(LogLine("line 79")), Env("A", "it's"), Publish(80), Args("serve", "-v"))
	c.tb = tb
	tb.fatal = []string{"failed"}
	c.finish()
	for _, want := range []string{
		"container image:1 (abababababab)", `reproduce: bivouac run -e 'A=it'\''s' -P -p 80 image:1 serve -v`, "state: running",
		"published: 80/tcp at 127.0.0.1:40000", "log, the last 50 of 80 lines", "    line 79 ", "listening: 0.0.0.0:6380/tcp",
		"changed files: 1", "    A /data/new", "server --name 'a b'", "  worker",
	} {
		if !strings.Contains(tb.log(), want) {
			t.Errorf("the evidence lacks %q:\n%s", want, tb.log())
		}
	}
	if strings.Contains(tb.log(), "line 29 ") || strings.Contains(tb.log(), "\x1b") {
		t.Error("too many lines, or control characters")
	}
	if !b.discarded {
		t.Error("the container is still there")
	}
}

func TestATestThatPassesIsQuiet(t *testing.T) {
	b := &fakeBox{}
	c := launched(t, b)
	tb := &fakeTB{}
	c.tb = tb
	c.finish()
	if tb.log() != "" || !b.discarded {
		t.Errorf("got %q, discarded %v", tb.log(), b.discarded)
	}
}

// specTB is a test with a report, as Ginkgo's.
type specTB struct {
	fakeTB
	entries []string
}

func (s *specTB) AddReportEntryVisibilityFailureOrVerbose(name string, args ...any) {
	s.entries = append(s.entries, name+"\n"+fmt.Sprint(args...))
}

func TestASpecGetsAReportEntry(t *testing.T) {
	c := launched(t, &fakeBox{})
	tb := &specTB{}
	tb.fatal = []string{"failed"}
	c.tb = tb
	c.finish()
	if len(tb.entries) != 1 || !strings.Contains(tb.entries[0], "state: running") || tb.log() != "" {
		t.Errorf("got %q and %q", tb.entries, tb.log())
	}
}

func TestAFailedTestsContainerIsKept(t *testing.T) {
	t.Setenv("BIVOUAC_KEEP", "1")
	b := &fakeBox{}
	c := launched(t, b)
	tb := &fakeTB{fatal: []string{"failed"}}
	c.tb = tb
	c.finish()
	if b.discarded || !b.detached || !strings.Contains(tb.log(), "bivouac exec -it abababababab sh") || !strings.Contains(tb.log(), "bivouac rm -f abababababab") {
		t.Errorf("discarded %v, detached %v, %s", b.discarded, b.detached, tb.log())
	}
	b.current().kill()

	b = &fakeBox{detach: errors.New("no room")}
	c = launched(t, b)
	c.tb = tb
	c.finish()
	if !b.discarded || !strings.Contains(tb.log(), "cannot be kept: detach: no room") {
		t.Errorf("discarded %v, %s", b.discarded, tb.log())
	}

	b = &fakeBox{}
	c = launched(t, b)
	c.tb = &fakeTB{}
	c.finish()
	if !b.discarded {
		t.Error("the container of a test that passed was kept")
	}
}

func TestUnsupportedMachinesSkip(t *testing.T) {
	unsupported := fmt.Errorf("start: %w", sandbox.Errorf(sandbox.CodeUnsupported, "make namespaces: not permitted").WithRemedy("permit them"))
	for require, want := range map[string]string{"": "skip", "0": "skip", "1": "fail"} {
		t.Setenv("BIVOUAC_REQUIRE", require)
		tb := &fakeTB{}
		tb.test(func() { giveUp(tb, unsupported) })
		messages := append(tb.skipped, tb.fatal...)
		if (len(tb.skipped) == 1) != (want == "skip") || len(messages) != 1 {
			t.Fatalf("%q: skipped %q, failed %q", require, tb.skipped, tb.fatal)
		}
		expectError(t, errors.New(messages[0]), "not permitted", "permit them")
	}
	t.Setenv("BIVOUAC_REQUIRE", "")
	tb := &fakeTB{}
	tb.test(func() { giveUp(tb, errors.New("other")) })
	if len(tb.fatal) != 1 {
		t.Error("another error skipped")
	}
}

// doneTB is a test that has ended: package testing panics then.
type doneTB struct{ fakeTB }

func (d *doneTB) Fatalf(string, ...any) { panic("Fail in goroutine after TestMine has completed") }

func TestFailingAfterTheEndDoesNotPanic(t *testing.T) {
	tb := &doneTB{fakeTB{name: "TestMine"}}
	wentOn := false
	tb.test(func() {
		fail(tb, "testkit: something")
		wentOn = true
	})
	if wentOn {
		t.Error("the goroutine went on")
	}
}

func TestStartAfterTheTestsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tb := &fakeTB{name: "TestMine", ctx: ctx}
	tb.test(func() { Start(tb, "image:1") })
	if len(tb.fatal) != 1 || !strings.Contains(tb.fatal[0], "start image:1: the test is over") {
		t.Errorf("got %q", tb.fatal)
	}
}

func TestWithoutAKeeper(t *testing.T) {
	k := newKeeper(func(ctx context.Context) (engine, error) {
		return startEngine(ctx, sandbox.Options{Keeper: "/no/such/bivouac"})
	})
	s, err := collect("image:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = k.create(t.Context(), s)
	expectError(t, err, "/no/such/bivouac", "$BIVOUAC")
	if time.Since(began) > 30*time.Second {
		t.Error("it took long")
	}
}
