package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A contender is one way to do the work of a contest. Only what its commands do is measured.
type contender struct {
	name  string
	tools []string // programs that must be installed
	ours  bool     // is bivouac: what goes wrong with it ends the benchmark
	// dir is its own, empty at first, and is removed after the contest.
	dir string
	// prepare is called once. A peer whose preparation fails is left out; nil is nothing to prepare.
	prepare func() error
	// before and after are called around each round; nil is nothing to do.
	before, after func() error
	commands      func() []*exec.Cmd
	// about says after the preparation what the name does not; nil is nothing to say.
	about func() string
}

// get makes the contender ready.
func (c *contender) get(l *lab) (err error) {
	for _, tool := range c.tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed", tool)
		}
	}
	if c.dir, err = l.newDir(); err != nil {
		return err
	}
	return call(c.prepare)
}

// measure does the work once.
func (c *contender) measure(l *lab, m meter) (reading, error) {
	if err := call(c.before); err != nil {
		return reading{}, err
	}
	l.residents.settle()
	got, err := m(l, c.commands())
	if err != nil {
		return reading{}, err
	}
	l.residents.settle()
	return got, call(c.after)
}

func call(step func() error) error {
	if step == nil {
		return nil
	}
	return step()
}

// startAfresh gives each round an empty directory, which furnish may put something into; nil is nothing. All that is
// waiting to be written is written first, so that the round does not pay for what the last one left.
func (c *contender) startAfresh(l *lab, furnish func() error) {
	c.before = func() error {
		if err := os.Mkdir(c.round(), 0o700); err != nil {
			return err
		}
		if err := call(furnish); err != nil {
			return err
		}
		return l.flush()
	}
	c.after = func() error { return l.remove(c.round()) }
}

// round is the directory that startAfresh is about.
func (c *contender) round() string { return filepath.Join(c.dir, "round") }

// versions returns the first line of what each tool says of itself.
func (c *contender) versions(l *lab) string {
	var all []string
	for _, tool := range c.tools {
		text, err := l.output(l.command(tool, "--version"))
		if err != nil {
			continue // nothing rests on it
		}
		line, _, _ := strings.Cut(text, "\n")
		all = append(all, line)
	}
	return strings.Join(all, ", ")
}
