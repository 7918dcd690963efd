package main

import (
	"os/exec"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// warmContest starts a program that does nothing where there is a keeper already, as all tests but the first do.
func warmContest(l *lab, c config) contest {
	return contest{
		name: "warm", title: "warm: start to exit of /bin/true of busybox, in a running keeper", unit: "ms", meter: clock,
		warmups: 3, rounds: c.rounds, contenders: []*contender{warmKit(l), warmClient(l), startBubblewrap(l)},
	}
}

func warmKit(l *lab) *contender {
	c := overKit(l, l.busybox())
	var container *testkit.Container
	c.work = func() (err error) {
		container, err = testkit.New(l.ctx, l.busybox(), testkit.Args("/bin/true"), testkit.Ready(testkit.Exited(0)))
		return err
	}
	c.release = func() error { return closeKit(container) }
	return c
}

// closeKit discards what New has returned: nil where it failed.
func closeKit(c *testkit.Container) error {
	if c == nil {
		return nil
	}
	return c.Close()
}

func warmClient(l *lab) *contender {
	c, client := overClient(l, l.busybox())
	c.work = func() error {
		container, err := client.Run(l.ctx, sandbox.Spec{Image: l.busybox(), Args: []string{"/bin/true"}}, sandbox.Streams{}, nil)
		if err != nil {
			return err
		}
		return succeed(l.ctx, container)
	}
	return c
}

// execContest runs a program that does nothing in a container that runs.
func execContest(l *lab, c config) contest {
	return contest{
		name: "exec", title: "exec: run /bin/true in a running container of busybox", unit: "ms", meter: clock,
		warmups: 3, rounds: c.rounds, contenders: []*contender{execKit(l), execClient(l), execPodman(l)},
	}
}

func execKit(l *lab) *contender {
	c := overKit(l, l.busybox())
	box := idler{lab: l}
	fetch := c.prepare
	c.prepare = func() error {
		if err := fetch(); err != nil {
			return err
		}
		return box.start()
	}
	c.work = func() error {
		result, err := box.Exec(l.ctx, "/bin/true")
		if err != nil {
			return err
		}
		return result.Err()
	}
	return c
}

func execClient(l *lab) *contender {
	c, client := overClient(l, l.busybox())
	var container *sandbox.Container
	open := c.prepare
	c.prepare = func() (err error) {
		if err := open(); err != nil {
			return err
		}
		container, err = client.Run(l.ctx, sandbox.Spec{Image: l.busybox(), Args: []string{"sleep", forever}}, sandbox.Streams{}, nil)
		return err
	}
	c.work = func() error {
		process, err := container.Exec(l.ctx, sandbox.ExecSpec{Args: []string{"/bin/true"}}, sandbox.Streams{})
		if err != nil {
			return err
		}
		return succeed(l.ctx, process)
	}
	return c
}

func execPodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	c.about = p.about
	c.prepare = func() error {
		return p.ready(c.dir, l.busybox(), func() *exec.Cmd { return p.idle("bench") })
	}
	c.finish = p.end
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{p.command("exec", "bench", "/bin/true")} }
	return c
}

// idle starts a container that does nothing, in place of one of the same name that has failed.
func (p *podman) idle(name string) *exec.Cmd {
	return p.command("run", "--detach", "--replace", "--name", name, "--network", "none", p.lab.busybox(), "sleep", forever)
}
