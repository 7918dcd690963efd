package main

import (
	"errors"
	"net"
	"os/exec"
	"strconv"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// nameCold is bivouac without any checkpoint.
const nameCold = "cold start"

// cloneContest names the contest in cloning a service, as cloneContests has it.
func cloneContest(service string) string { return "clone-" + service }

// cloneContests bring up a clone of each service, beside a cold start of the same image.
func cloneContests(l *lab, c config) (all []contest) {
	for _, s := range c.services() {
		all = append(all, contest{
			name: cloneContest(s.name), title: "clone: from the call to the first answer of " + s.image, unit: "ms", meter: clock,
			warmups: 1, rounds: c.most(), contenders: cloners(l, s),
		})
	}
	return all
}

func cloners(l *lab, s service) []*contender {
	all := []*contender{cloneProcesses(l, s)}
	if s.name == postgresName {
		all = append(all, cloneFiles(l, s))
	}
	all = append(all, cloneKit(l, s), cloneCold(l, s))
	if s.name == redisName {
		all = append(all, clonePodman(l))
	}
	return all
}

func cloneProcesses(l *lab, s service) *contender {
	n := newNursery(l, s, sandbox.ProcessesRequired)
	return n.bringing(n.contender(nameBivouac), n.clone)
}

func cloneFiles(l *lab, s service) *contender {
	n := newNursery(l, s, sandbox.ProcessesNever)
	return n.bringing(n.contender(nameBivouac+", files"), n.clone)
}

func cloneCold(l *lab, s service) *contender {
	n := newNursery(l, s, sandbox.ProcessesNever)
	c := &contender{
		name: nameCold, ours: true, prepare: n.open, finish: n.close,
		about: func() string { return "package sandbox, from the image" },
	}
	return n.bringing(c, func() (*sandbox.Container, error) { return n.cold(false) })
}

// bringing measures how long it takes to get a container.
func (n *nursery) bringing(c *contender, get func() (*sandbox.Container, error)) *contender {
	var got *sandbox.Container
	c.work = func() (err error) {
		got, err = get()
		return err
	}
	c.release = func() error { return discard(n.lab, got) }
	return c
}

// cloneKit is what a test gets.
func cloneKit(l *lab, s service) *contender {
	c := overKit(l, s.reference(l))
	c.name = nameBivouac + ", testkit"
	var prepared *testkit.Prepared
	var clone *testkit.Container
	get := func() (err error) {
		if clone, err = prepared.New(l.ctx); err == nil {
			err = s.queryAt(clone.Addr(int(s.port)))
		}
		return err
	}
	c.release = func() error { return closeKit(clone) }
	fetch := c.prepare
	c.prepare = func() error {
		prepared = testkit.Checkpoint(s.reference(l), s.options()...)
		if err := fetch(); err != nil {
			return leaveOut(s.slow, err)
		}
		err := get()
		return errors.Join(leaveOut(sandbox.CodeOf(err) == sandbox.CodeCheckpoint, err), closeKit(clone))
	}
	c.work = get
	c.about = func() string {
		snapshot, err := prepared.Snapshot(l.ctx)
		if err != nil {
			return err.Error()
		}
		return "package testkit; " + contentOf(snapshot)
	}
	return c
}

// options have a test's container be what spec says.
func (s service) options() []testkit.Option {
	return []testkit.Option{
		testkit.EnvMap(s.env), testkit.Args(s.args...), testkit.Ready(testkit.Port(int(s.port))), testkit.ProcessesRequired(),
	}
}

// leaveOut marks an error as one that ends nothing.
func leaveOut(so bool, err error) error {
	if so && err != nil {
		return &leftOutError{err}
	}
	return err
}

// clonePodman is a cold start: podman's own checkpoints need root.
func clonePodman(l *lab) *contender {
	c := &contender{name: namePodman + ", cold start", tools: []string{"podman"}}
	p := &podman{lab: l}
	c.about = func() string { return p.about() + "; on the host's network" }
	c.prepare = func() error {
		if err := p.ready(c.dir, l.redis(), func() *exec.Cmd { return p.serve(l.redis(), 0) }); err != nil {
			return err
		}
		return p.end()
	}
	var port int
	c.before = func() error {
		ports, err := freePorts(1)
		if err == nil {
			port = ports[0]
		}
		return err
	}
	c.work = func() error {
		if err := l.run(p.serve(l.redis(), port)); err != nil {
			return err
		}
		return awaitPing(l, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	c.release, c.finish = p.end, p.end
	return c
}
