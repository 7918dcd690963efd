package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// launched makes a container whose program runs.
func launched(t *testing.T, b *fakeBox, opts ...Option) *Container {
	t.Helper()
	c := made(t, b, opts...)
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExitCodesAreGexecs(t *testing.T) {
	release := make(chan struct{})
	c := made(t, &fakeBox{program: func(p *fakeProgram) {
		<-release
		p.exit.Code = 7
	}})
	if c.ExitCode() != -1 {
		t.Errorf("before the start: %d", c.ExitCode())
	}
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.ExitCode() != -1 {
		t.Errorf("while it runs: %d", c.ExitCode())
	}
	close(release)
	exit, err := c.Wait(t.Context())
	if err != nil || exit.Code != 7 || c.ExitCode() != 7 {
		t.Errorf("got %v, %v, %d", exit, err, c.ExitCode())
	}
	var exited *ExitedError
	if !errors.As(context.Cause(c.Context()), &exited) || exited.Exit.Code != 7 {
		t.Errorf("the context's cause is %v", context.Cause(c.Context()))
	}
}

func TestStopAsksAndThenKills(t *testing.T) {
	b := &fakeBox{program: func(p *fakeProgram) {
		select {
		case <-p.signals:
			p.exit.Code = 0
		case <-p.killed:
			p.exit.Code = 137
		}
	}}
	c := launched(t, b)
	if err := c.Stop(t.Context()); err != nil || c.ExitCode() != 0 {
		t.Errorf("got %v, %d", err, c.ExitCode())
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	stubborn := &fakeBox{}
	c = launched(t, stubborn, StopGrace(20*time.Millisecond))
	if err := c.Stop(t.Context()); err != nil || c.ExitCode() != 137 {
		t.Errorf("got %v, %d", err, c.ExitCode())
	}
	if fmt.Sprint(stubborn.signals) != fmt.Sprint([]syscall.Signal{15, 9}) {
		t.Errorf("got signals %v", stubborn.signals)
	}
	c = launched(t, &fakeBox{})
	if err := c.Kill(t.Context()); err != nil || c.ExitCode() != 137 {
		t.Errorf("kill: %v, %d", err, c.ExitCode())
	}
}

func TestRestartWaitsAgainForWhatIsNew(t *testing.T) {
	b := &fakeBox{}
	b.program = func(p *fakeProgram) {
		fmt.Fprintf(p.stdout, "ready %d\n", b.starts)
		p.run()
	}
	hooks := 0
	c := launched(t, b, Ready(LogLine("ready")), StopGrace(0), AfterReady(func(context.Context, *Container) error {
		hooks++
		return nil
	}))
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Logs() != "ready 1\nready 2\n" || b.starts != 2 || hooks != 2 || c.ExitCode() != -1 {
		t.Errorf("got %q, %d starts, %d hooks, %d", c.Logs(), b.starts, hooks, c.ExitCode())
	}
	b.program = prints(1, "oops")
	expectError(t, c.Restart(t.Context()), `log line "ready"`, "exited with code 1", "oops")
}

func TestHooksAreCalledInTheirOrder(t *testing.T) {
	var order []string
	hook := func(name string) Hook {
		return func(_ context.Context, c *Container) error {
			order = append(order, fmt.Sprintf("%s %s", name, c.state()))
			return nil
		}
	}
	c := made(t, &fakeBox{}, BeforeStop(hook("stop")), AfterReady(hook("ready")), BeforeStart(hook("start")), Publish())
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ", "); got != "start not started, ready running, stop running" {
		t.Errorf("got %s", got)
	}
	failing := func(context.Context, *Container) error { return errors.New("no luck") }
	expectError(t, made(t, &fakeBox{}, BeforeStart(failing)).launch(t.Context()), "start image:1", "BeforeStart hook: no luck")
	expectError(t, made(t, &fakeBox{}, AfterReady(failing)).launch(t.Context()), "AfterReady hook: no luck")
	c = launched(t, &fakeBox{}, BeforeStop(failing), StopGrace(0))
	expectError(t, c.Stop(t.Context()), "BeforeStop hook of image:1", "no luck")
	if c.ExitCode() != 137 {
		t.Error("a hook kept the program from being stopped")
	}
}

func TestUseAfterTheEndIsAnError(t *testing.T) {
	tb := &fakeTB{name: "TestMine"}
	c := launched(t, &fakeBox{})
	c.tb = tb
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	ctx := t.Context()
	_, execErr := c.Exec(ctx, "true")
	_, dialErr := c.Dial(ctx, "tcp", 80)
	_, fileErr := fs.Stat(c.FS(), "etc")
	_, statsErr := c.Stats(ctx)
	_, diffErr := c.Diff(ctx)
	for name, err := range map[string]error{
		"exec": execErr, "dial": dialErr, "file": fileErr, "stats": statsErr, "diff": diffErr,
		"stop": c.Stop(ctx), "restart": c.Restart(ctx), "signal": c.Signal(ctx, 15), "pause": c.Pause(ctx),
		"copy": c.CopyTo(ctx, "/", strings.NewReader("")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		expectError(t, err, "image:1 (abababababab): the container has been discarded", "TestMine")
		if sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
			t.Errorf("%s: code %s", name, sandbox.CodeOf(err))
		}
	}
	if got := c.Addr(80); got != "port-80-tcp-is-not-published.invalid:80" || tb.Failed() {
		t.Errorf("got %s, failed %v", got, tb.fatal)
	}
	if got := readAll(t, c.Follow()); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestAPortThatIsNotPublishedFailsTheTest(t *testing.T) {
	tb := &fakeTB{name: "TestMine"}
	c := launched(t, &fakeBox{program: func(p *fakeProgram) {
		close(p.listening)
		p.run()
	}}, Publish(80, 8080), PublishUDP(53), Ready(Port(80).Inside()))
	c.tb = tb
	if got := c.Addr(80) + " " + c.AddrUDP(53); got != "127.0.0.1:40000 127.0.0.1:40002" {
		t.Errorf("got %s", got)
	}
	host, port, err := c.HostPort(8080)
	if host != "127.0.0.1" || port != 40001 || err != nil {
		t.Errorf("got %s, %d, %v", host, port, err)
	}
	tb.test(func() { c.Addr(81) })
	if len(tb.fatal) != 1 {
		t.Fatalf("got %q", tb.fatal)
	}
	expectError(t, errors.New(tb.fatal[0]), "port 81/tcp of image:1", "published are 53/udp, 80/tcp, 8080/tcp", "testkit.Publish")
}

func TestExecPassesStreamsOn(t *testing.T) {
	c := launched(t, &fakeBox{health: func([]string) int { return 4 }})
	result, err := c.Exec(t.Context(), "a", "b")
	if err != nil || result.Code != 4 || result.String() != "ran a b" {
		t.Errorf("got %+v, %v", result, err)
	}
	expectError(t, result.Err(), "exited with code 4: ran a b")
	var out strings.Builder
	result, err = c.ExecWith(t.Context(), Command{Args: []string{"a"}, Stdout: &out, Stdin: strings.NewReader("x")})
	if err != nil || out.String() != "ran a\n" || result.Stdout != nil {
		t.Errorf("got %q, %v", out.String(), err)
	}
	_, err = c.Exec(t.Context())
	expectError(t, err, "there is no command")
}

func TestStdinIsPassedOn(t *testing.T) {
	c := launched(t, &fakeBox{program: func(p *fakeProgram) { _, _ = io.Copy(p.stdout, p.stdin) }}, Stdin(strings.NewReader("some text")))
	if _, err := c.Wait(t.Context()); err != nil || c.Logs() != "some text" {
		t.Errorf("got %q, %v", c.Logs(), err)
	}
}

func TestAWriterThatFailsOrHangsEndsNothing(t *testing.T) {
	c := launched(t, &fakeBox{program: prints(0, "text")}, Log(badWriter{}), Ready(LogLine("text")))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, errors.New("full") }
