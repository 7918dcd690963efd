package main

import (
	"os/exec"
	"path/filepath"
)

func (l *lab) postgres() string { return l.registry + "/postgres:15" }

// pullContest gets and unpacks an image of usual size into an empty store.
func pullContest(l *lab, c config) contest {
	return contest{
		name: "pull", title: "pull: postgres:15 from a registry on loopback into an empty store", unit: "ms", meter: clock,
		warmups: 1, rounds: c.pulls, contenders: pullers(l),
	}
}

// memoryContest does the same again, for what it takes in memory.
func memoryContest(l *lab, c config) contest {
	return contest{
		name: "memory", title: "memory: the same pull, most memory of all its processes together (PSS)", unit: "MB", meter: scales,
		rounds: c.pulls, contenders: pullers(l),
	}
}

// againContest pulls an image that is there and has not changed.
func againContest(l *lab, c config) contest {
	return contest{
		name: "again", title: "again: pull postgres:15 that is there and unchanged", unit: "ms", meter: clock,
		warmups: 2, rounds: c.checks, contenders: []*contender{againBivouac(l), againPodman(l)},
	}
}

func pullers(l *lab) []*contender { return []*contender{pullBivouac(l), pullPodman(l), pullSkopeo(l)} }

func pullBivouac(l *lab) *contender {
	c := &contender{name: nameBivouac, ours: true}
	c.startAfresh(l, nil)
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{l.bivouac(c.round(), "pull", l.postgres())} }
	return c
}

// pullPodman pulls into a store that has been made before: podman looks at the file system only then.
func pullPodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	c.about = p.about
	c.prepare = func() error { return p.choose(c.dir) }
	c.startAfresh(l, func() error { return p.create(c.round()) })
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{p.pull(l.postgres())} }
	return c
}

func pullSkopeo(l *lab) *contender {
	c := &contender{name: "skopeo and umoci", tools: []string{"skopeo", "umoci"}}
	c.about = func() string { return "skopeo copy to an OCI layout, then umoci unpack --rootless" }
	c.startAfresh(l, nil)
	c.commands = func() []*exec.Cmd {
		layout := filepath.Join(c.round(), "layout")
		return []*exec.Cmd{
			l.command("skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+l.postgres(), "oci:"+layout+":it"),
			l.command("umoci", "unpack", "--rootless", "--image", layout+":it", filepath.Join(c.round(), "bundle")),
		}
	}
	return c
}

func againBivouac(l *lab) *contender {
	c := &contender{name: nameBivouac, ours: true}
	pull := func() *exec.Cmd { return l.bivouac(filepath.Join(c.dir, "store"), "pull", l.postgres()) }
	c.prepare = func() error { return l.run(pull()) }
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{pull()} }
	return c
}

func againPodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	pull := func() *exec.Cmd { return p.pull(l.postgres()) }
	c.about = p.about
	c.prepare = func() error {
		if err := p.choose(c.dir); err != nil {
			return err
		}
		return l.run(pull())
	}
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{pull()} }
	return c
}
