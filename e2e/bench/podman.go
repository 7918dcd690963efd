package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A podman is podman with the settings that work best here, and the store that it works on.
type podman struct {
	lab              *lab
	root, runroot    string
	storage, runtime []string // flags
	driver, engine   string   // what they are, for the reader
}

// storages are podman's drivers, best first. Left alone, old versions take to vfs, which copies every layer whole, on
// kernels that would let them do better.
var storages = [][]string{
	{"--storage-driver", "overlay"},
	{"--storage-driver", "overlay", "--storage-opt", "overlay.mount_program=/usr/bin/fuse-overlayfs"},
	{},
}

// runtimes are podman's runtimes, that which it chooses itself first. Some versions of crun refuse to work where both
// versions of cgroups have controllers.
var runtimes = [][]string{{}, {"--runtime", "runc"}}

// open takes a directory for store, which need not exist. What belongs to running containers is elsewhere: podman
// refuses a path of more than 50 characters for it.
func (p *podman) open(store string) (err error) {
	p.root = store
	p.runroot, err = p.lab.newDir()
	return err
}

// command prepares podman with the store.
func (p *podman) command(args ...string) *exec.Cmd {
	return p.lab.command("podman", slices.Concat([]string{"--root", p.root, "--runroot", p.runroot}, p.storage, p.runtime, args)...)
}

func (p *podman) pull(image string) *exec.Cmd {
	return p.command("pull", "--quiet", "--tls-verify=false", image)
}

// create makes an empty store.
func (p *podman) create(store string) error {
	if err := p.open(store); err != nil {
		return err
	}
	return p.lab.run(p.command("info"))
}

// choose takes the best driver that works, and opens a store of it below dir.
func (p *podman) choose(dir string) (err error) {
	const format = `{{.Store.GraphDriverName}}{{with index .Store.GraphStatus "Native Overlay Diff"}}, native diff {{.}}{{end}}`
	for i, flags := range storages {
		if err := p.open(filepath.Join(dir, fmt.Sprint("store", i))); err != nil {
			return err
		}
		p.storage = flags
		if p.driver, err = p.lab.output(p.command("info", "--format", format)); err == nil {
			return nil
		}
	}
	return err
}

// chooseRuntime takes the first runtime with which a command works.
func (p *podman) chooseRuntime(run func() *exec.Cmd) (err error) {
	for _, flags := range runtimes {
		p.runtime, p.engine = flags, "its own choice of runtime"
		if err != nil {
			p.engine = "runc, as its own choice fails: " + reason(err)
		}
		if err = p.lab.run(run()); err == nil {
			return nil
		}
	}
	return err
}

// reason is the last part of an error, which is what the program itself said.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+len(": "):]
	}
	return text
}

// ready makes a store below dir that has an image, and finds a runtime with which a command works.
func (p *podman) ready(dir, image string, run func() *exec.Cmd) error {
	if err := p.choose(dir); err != nil {
		return err
	}
	if err := p.lab.run(p.pull(image)); err != nil {
		return err
	}
	return p.chooseRuntime(run)
}

// end ends and removes all containers of the store. Where one has just ended, podman may fail and has to be asked again.
func (p *podman) end() (err error) {
	for range 3 {
		if err = p.lab.run(p.command("rm", "--force", "--all", "--volumes", "--time", "0")); err == nil {
			return nil
		}
	}
	return err
}

func (p *podman) about() string {
	if p.engine == "" {
		return "storage " + p.driver
	}
	return "storage " + p.driver + "; " + p.engine
}
