package main

import (
	"errors"
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
	// release ends what the work leaves running, before after is called; nil is nothing.
	release func() error
	// finish is called once, after prepare has been and whatever came of it; nil is nothing to do.
	finish func() error
	// One of these is what is measured: commands, what this process itself does, or, where the contest's meter is its
	// gauge, what the contender measures by itself.
	commands func() []*exec.Cmd
	work     func() error
	gauge    func() (reading, error)
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
	got, err := m(l, c)
	if err := errors.Join(err, call(c.release)); err != nil {
		return reading{}, err
	}
	l.residents.settle()
	return got, call(c.after)
}

// job returns the work. What prepares it is not measured.
func (c *contender) job(l *lab) func() error {
	if c.work != nil {
		return c.work
	}
	cmds := c.commands()
	return func() error { return l.run(cmds...) }
}

// leave removes what the contender has left. A peer that could not be made ready may have nothing to finish.
func (c *contender) leave(l *lab) error {
	if err := call(c.finish); err != nil && c.ours {
		return err
	}
	l.residents.settle()
	return l.remove(c.dir)
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
