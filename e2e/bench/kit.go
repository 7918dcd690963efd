package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// kitStore is the store of the keepers that this process starts, as tests do.
func (l *lab) kitStore() string { return filepath.Join(l.dir, "kit") }

// offerKeeper has testkit, which goes by the environment of its process, use the lab's.
func (l *lab) offerKeeper() error {
	for _, variable := range append(l.env, "BIVOUAC="+l.binary, "BIVOUAC_HOME="+l.kitStore()) {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// fetch makes sure that the keepers' store has an image.
func (l *lab) fetch(image string) error { return l.run(l.bivouac(l.kitStore(), "pull", image)) }

// overKit is bivouac's row of contests in a running keeper: what a Go test gets. The keeper ends with the contest.
func overKit(l *lab, image string) *contender {
	return &contender{
		name: nameBivouac, ours: true,
		about:   func() string { return "package testkit" },
		prepare: func() error { return l.fetch(image) },
		finish:  testkit.Shutdown,
	}
}

// An idler is a container of busybox that does nothing.
type idler struct {
	lab *lab
	*testkit.Container
}

func (i *idler) start() (err error) {
	i.Container, err = testkit.New(i.lab.ctx, i.lab.busybox(), testkit.Args("sleep", forever))
	return err
}

// forever, in seconds, is more than a contest takes.
const forever = "86400"

// overClient is the same by package sandbox, without what testkit adds. The client is there once it is prepared.
func overClient(l *lab, image string) (*contender, *client) {
	c := &client{lab: l}
	return &contender{
		name: nameBivouac + ", sandbox", ours: true,
		about:   func() string { return "package sandbox, without pipes for what is printed" },
		prepare: func() error { return errors.Join(l.fetch(image), c.open()) },
		finish:  c.close,
	}, c
}

// A client is that of a keeper of its own.
type client struct {
	lab *lab
	*sandbox.Client
	child int // what was started as the keeper
}

func (c *client) open() (err error) {
	before := childrenOf(os.Getpid())
	if c.Client, err = sandbox.Start(c.lab.ctx, sandbox.Options{}); err != nil {
		return err
	}
	for _, pid := range childrenOf(os.Getpid()) {
		if !slices.Contains(before, pid) {
			c.child = pid
		}
	}
	return nil
}

// keeper is the keeper's process, once it has done something: what was started waits for one in its namespaces.
func (c *client) keeper() int {
	if inside := childrenOf(c.child); len(inside) == 1 {
		return inside[0]
	}
	return c.child
}

// close ends the keeper, if there is one.
func (c *client) close() error {
	if c.Client == nil {
		return nil
	}
	return c.Close()
}

// started is what starts a program: a container, or Exec in it.
type started interface {
	Wait(context.Context) (sandbox.Exit, error)
}

// succeed waits for a program to end without complaints.
func succeed(ctx context.Context, p started) error {
	exit, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if exit.Code != 0 {
		return fmt.Errorf("the program ended with exit code %d", exit.Code)
	}
	return nil
}
