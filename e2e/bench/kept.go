package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// fleetOfKept is how many containers there are to be listed.
const fleetOfKept = 100

// listContest lists containers of which every tenth runs.
func listContest(l *lab, c config) contest {
	return contest{
		name: "ps", title: fmt.Sprintf("ps: list %d containers, of which every tenth runs", fleetOfKept), unit: "ms", meter: clock,
		warmups: 2, rounds: c.checks, contenders: []*contender{listBivouac(l), listPodman(l)},
	}
}

func (l *lab) busyboxImage() string { return l.registry + "/busybox:latest" }

func listBivouac(l *lab) *contender {
	c := &contender{name: nameBivouac, ours: true}
	verb := func(args ...string) *exec.Cmd { return l.bivouac(filepath.Join(c.dir, "store"), args...) }
	c.prepare = func() error {
		return l.crowd(verb, "create", []string{"run", "-d"}, l.busyboxImage())
	}
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{verb("ps", "-a")} }
	c.finish = func() error { return l.run(verb("system", "reset", "--force")) }
	return c
}

func listPodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	c.about = p.about
	c.prepare = func() error {
		try := func() *exec.Cmd { return p.command("run", "--rm", "--network", "none", l.busyboxImage(), "true") }
		if err := p.ready(c.dir, l.busyboxImage(), try); err != nil {
			return err
		}
		return l.crowd(p.command, "create", []string{"run", "-d", "--network", "none"}, l.busyboxImage())
	}
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{p.command("ps", "-a")} }
	c.finish = p.end
	return c
}

// crowd makes the containers that are to be listed.
func (l *lab) crowd(verb func(args ...string) *exec.Cmd, create string, run []string, image string) error {
	for i := range fleetOfKept {
		args := []string{create, image, "true"}
		if i%10 == 0 {
			args = append(append([]string{}, run...), image, "sleep", "3600")
		}
		if err := l.run(verb(args...)); err != nil {
			return err
		}
	}
	return nil
}

// nameTar is what commit is held against: the same bytes read, compressed and digested by programs that do nothing else.
const nameTar = "tar | gzip -1 | sha256sum"

// commitContest makes an image of a container that has changed about 100 MB in some thousand files.
func commitContest(l *lab, c config) contest {
	ours := commitBivouac(l)
	return contest{
		name: "commit", title: "commit: a container with 100 MB of changes", unit: "ms", meter: clock,
		warmups: 1, rounds: c.pulls, contenders: []*contender{ours, commitTar(l, ours)},
	}
}

const changedContainer = "changed"

// commitBivouac forgets each image before the next round, which otherwise would find its layer in the store.
func commitBivouac(l *lab) *contender {
	c := &contender{name: nameBivouac, ours: true}
	verb := func(args ...string) *exec.Cmd { return l.bivouac(filepath.Join(c.dir, "store"), args...) }
	c.prepare = func() error {
		return l.run(verb("run", "--quiet", "--name", changedContainer, l.registry+"/python:3", "cp", "-a", "/usr", "/copy"))
	}
	c.before = func() error {
		if images, err := l.output(verb("images", "--quiet", "committed")); err != nil || images == "" {
			return err
		}
		return l.run(verb("rmi", "committed"))
	}
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{verb("commit", changedContainer, "committed")} }
	c.finish = func() error { return l.run(verb("system", "reset", "--force")) }
	return c
}

// commitTar reads a copy of the files that the container has changed.
func commitTar(l *lab, ours *contender) *contender {
	c := &contender{name: nameTar, tools: []string{"tar", "gzip", "sha256sum"}}
	files := func() string { return filepath.Join(c.dir, "copy") }
	c.prepare = func() error {
		return l.run(l.bivouac(filepath.Join(ours.dir, "store"), "cp", changedContainer+":/copy", files()))
	}
	c.about = func() string {
		size, _ := l.output(l.command("du", "-sm", files()))
		mb, _, _ := strings.Cut(size, "\t")
		return mb + " MB of files"
	}
	c.commands = func() []*exec.Cmd {
		return []*exec.Cmd{l.command("sh", "-c", `tar -C "$1" -cf - . | gzip -1 | sha256sum`, "sh", files())}
	}
	return c
}
