package testkit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestClonesHaveTheirOwn(t *testing.T) {
	e := newFakeEngine()
	e.clone = runsAfter("hello")
	p := preparedOn(t, e, Publish(80), Ready(Custom("at once", func(context.Context, *Container) error { return nil })),
		Label("a", "1"), Hostname("rabbit"), Memory(1<<20))
	var lines []string
	var mu sync.Mutex
	hooks := ""
	tb := &fakeTB{}
	tb.test(func() {
		c := p.Start(tb, Name("mine"), Label("b", "2"), PublishAs(sandbox.PortMapping{HostPort: 8080, Port: 80}), Publish(81), CPUs(2), MachineClock(),
			StopGrace(0), BeforeStart(func(_ context.Context, c *Container) error { hooks += "start "; return nil }),
			AfterReady(func(context.Context, *Container) error { hooks += "ready "; return nil }),
			LogLines(func(_ Stream, line string) {
				mu.Lock()
				defer mu.Unlock()
				lines = append(lines, line)
			}))
		if c.settings.stopGrace != 0 || c.settings.startTimeout != defaultStartTimeout {
			t.Errorf("got %v, %v", c.settings.stopGrace, c.settings.startTimeout)
		}
	})
	tb.cleanup()
	r := e.restored[1]
	if r.Name != "mine" || r.Hostname != "rabbit" || r.Labels["a"]+r.Labels["b"] != "12" || fmt.Sprint(r.Publish) != "[{ 8080 0 80 } { 0 0 81 tcp}]" ||
		*r.Limits != (sandbox.Limits{Memory: 1 << 20, CPUs: 2}) || !r.MachineClock || hooks != "start ready " || fmt.Sprint(lines) != "[hello]" {
		t.Errorf("got %+v, %v, hooks %q, lines %q, %v", r, r.Limits, hooks, lines, tb.fatal)
	}
	if first := e.restored[0]; first.Name != "" || first.Publish != nil || first.Limits != nil || first.Hostname != "rabbit" {
		t.Errorf("the first clone: %+v", first)
	}
	if len(p.base.spec.Labels) != 1 {
		t.Errorf("the labels of one clone got into %v", p.base.spec.Labels)
	}
}

func TestWhatClonesCannotHave(t *testing.T) {
	p := preparedOn(t, newFakeEngine())
	for want, opt := range map[string]Option{
		"Env":           Env("A", "b"),
		"Args":          Args("x"),
		"Entrypoint":    Entrypoint(),
		"Bind, BindRea": Tmpfs("/t"),
		"File(/a)":      File("/a", ""),
		"Ready":         Ready(Port(80)),
		"Stdin":         Stdin(strings.NewReader("")),
		`Prepare("x")`:  Prepare("x", func(context.Context, *Container) error { return nil }),
		"Pool":          Pool(1),
		"Live":          Live(),
	} {
		_, err := p.New(t.Context(), opt)
		expectError(t, err, "start image:1: "+want, "cannot be given to a clone", "give it to the container that is checkpointed")
	}
	_, err := p.New(t.Context(), Publish(0))
	expectError(t, err, "Publish(0): needs a port")
}

func TestWhatCheckpointsCannotHave(t *testing.T) {
	for want, opts := range map[string][]Option{
		"Name cannot be given to Checkpoint":               {Name("x")},
		"Stdin cannot":                                     {Stdin(strings.NewReader(""))},
		"PublishAs(8080:80) cannot":                        {PublishAs(sandbox.PortMapping{HostPort: 8080, Port: 80})},
		"Ready(exit with code 0) cannot":                   {Ready(Exited(0))},
		"ProcessesRequired: with Network(host)":            {ProcessesRequired(), Network("host")},
		"ProcessesRequired: with Init":                     {ProcessesRequired(), Init()},
		"Pool(0): needs":                                   {Pool(0)},
		`Prepare("a"): needs a key and a function`:         {Prepare("a", nil)},
		"DependsOn(/no/such/*.sql): there is no such file": {DependsOn("/no/such/*.sql")},
		"DependsOn([): syntax error in pattern":            {DependsOn("[")},
		"HostFile(/x): stat /no/such/file":                 {HostFile("/no/such/file", "/x")},
		"Publish(0): needs a port from 1 to 65535":         {Publish(0)},
		"Tmpfs(/x) and Tmpfs(/x) contradict":               {Tmpfs("/x"), Tmpfs("/x")},
	} {
		_, err := preparedOn(t, newFakeEngine(), opts...).New(t.Context())
		expectError(t, err, want)
	}
	_, err := collect("image", []Option{Pool(1), Prepare("x", func(context.Context, *Container) error { return nil })})
	expectError(t, err, "Pool cannot be given to Start or New", `Prepare("x") cannot`, "give it to testkit.Checkpoint")
	_, err = collect("image", []Option{oneShot(nil), Live()})
	expectError(t, err, "Live cannot be given to Run")
	_, err = collect("image", []Option{Checkpointable(), Init()})
	expectError(t, err, "Checkpointable: with Init")
	s, err := collect("image", []Option{ProcessesRequired()})
	if err != nil || !s.spec.Checkpointable {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestWhatKeepsProcessesOutIsSaid(t *testing.T) {
	e := newFakeEngine()
	e.program, e.clone = runsAfter("x"), runsAfter("x")
	c, err := preparedOn(t, e, Network("host"), Ready(LogLine("x"))).New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := c.Inspect().Snapshot; s.Tier != sandbox.TierFiles || !strings.Contains(s.Fallback, "Network(host)") || e.created[0].Checkpointable {
		t.Errorf("got %+v", s)
	}
}

func TestHooksAndLogsAreTheClones(t *testing.T) {
	e := newFakeEngine()
	e.program, e.clone = runsAfter("original"), runsAfter("clone")
	var mu sync.Mutex
	var order []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, text)
	}
	hook := func(name string) Hook {
		return func(_ context.Context, c *Container) error {
			if c.origin == nil {
				note(name + " of the original")
			} else {
				note(name)
			}
			return nil
		}
	}
	p := preparedOn(t, e, BeforeStart(hook("start")), AfterReady(hook("ready")), BeforeStop(hook("stop")), Prepare("x", hook("prepare")),
		Quiesce(hook("lock"), hook("unlock")), LogLines(func(_ Stream, line string) {
			if line == "original" {
				t.Error("the original's output is logged")
			}
		}))
	c, err := p.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want := "prepare of the original, lock of the original, unlock of the original, start, unlock, ready, stop"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
