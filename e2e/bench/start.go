package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bivouac-run/bivouac/userns"
)

// The names of contenders that targets and comparisons refer to.
const (
	nameBivouac    = "bivouac"
	nameBubblewrap = "bubblewrap"
	nameCrun       = "crun"
	nameCrunMapped = "crun, all ids"
	namePodman     = "podman"
)

// startContest starts a program that does nothing, in an image that is there, with the confinement that each has by
// default; crun and runc are told to confine as much as bivouac does.
func startContest(l *lab, c config) contest {
	contenders := []*contender{startBivouac(l, nameBivouac)}
	one := oneID()
	all, err := userns.Detect()
	mapped := err == nil && !all.Single()
	if mapped {
		contenders = append(contenders, startBivouac(l, "bivouac, one id", userns.ModeVariable+"=single"))
	}
	contenders = append(contenders, startBubblewrap(l), startRuntime(l, nameCrun, one, "--cgroup-manager=disabled"))
	if mapped {
		contenders = append(contenders, startRuntime(l, nameCrunMapped, all, "--cgroup-manager=disabled"))
	}
	return contest{
		name: "start", title: "start: run /bin/true in a busybox image that is there", unit: "ms", meter: clock,
		warmups: 3, rounds: c.starts,
		contenders: append(contenders, startRuntime(l, "runc", one), startPodman(l)),
	}
}

// oneID maps root to this user and nothing else, as for a user without subordinate ids.
func oneID() userns.Mapping {
	return userns.Mapping{
		UIDs: []userns.IDMap{{HostID: uint32(os.Getuid()), Size: 1}},
		GIDs: []userns.IDMap{{HostID: uint32(os.Getgid()), Size: 1}},
	}
}

func (l *lab) busybox() string { return l.registry + "/busybox:latest" }

// startBivouac runs bivouac with variables added to its environment.
func startBivouac(l *lab, name string, env ...string) *contender {
	c := &contender{name: name, ours: true}
	command := func(args ...string) *exec.Cmd {
		cmd := l.bivouac(filepath.Join(c.dir, "store"), args...)
		cmd.Env = append(cmd.Env, env...)
		return cmd
	}
	c.prepare = func() error { return l.run(command("pull", l.busybox())) }
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{command("run", l.busybox(), "/bin/true")} }
	return c
}

func startBubblewrap(l *lab) *contender {
	c := &contender{name: nameBubblewrap, tools: []string{"bwrap"}}
	c.about = func() string { return "no seccomp filter, nothing masked, read-only root" }
	c.prepare = func() error { return unpackBusybox(l.corpus, c.dir) }
	c.commands = func() []*exec.Cmd {
		return []*exec.Cmd{l.command("bwrap", "--unshare-all", "--ro-bind", c.dir, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true")}
	}
	return c
}

// startRuntime runs a bundle with an OCI runtime.
func startRuntime(l *lab, name string, m userns.Mapping, flags ...string) *contender {
	tool, _, _ := strings.Cut(name, ",")
	c := &contender{name: name, tools: []string{tool}}
	root := func() string { return filepath.Join(c.dir, "root") }
	c.about = func() string {
		ids := "one id"
		if !m.Single() {
			ids = "all ids"
		}
		return "Docker's seccomp profile, masks and capabilities, " + ids + ", no overlay"
	}
	c.prepare = func() error { return makeBundle(l.corpus, c.dir, m) }
	c.commands = func() []*exec.Cmd {
		return []*exec.Cmd{l.command(tool, append(flags[:len(flags):len(flags)], "--root", root(), "run", "--bundle", c.dir, "bench")...)}
	}
	return c
}

func startPodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	run := func() *exec.Cmd { return p.command("run", "--rm", "--network", "none", l.busybox(), "/bin/true") }
	c.about = p.about
	c.prepare = func() error { return p.ready(c.dir, l.busybox(), run) }
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{run()} }
	return c
}
