package testkit

import (
	"context"
	"io"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Logs returns what the program has printed on both streams, in the order in which it came: the last 8 MiB.
func (c *Container) Logs() string { return string(c.output.bytes(0)) }

// Follow returns a reader of all that the program has printed and prints, on both streams, until its end. Its Close makes
// a Read return that waits.
func (c *Container) Follow() io.ReadCloser { return c.output.follow(0) }

// Stdout is [Container.Follow] for the program's standard output.
func (c *Container) Stdout() io.ReadCloser { return c.output.follow(Stdout) }

// Stderr is [Container.Follow] for the program's standard error.
func (c *Container) Stderr() io.ReadCloser { return c.output.follow(Stderr) }

// Stats tells what the container uses.
func (c *Container) Stats(ctx context.Context) (sandbox.Stats, error) {
	if err := c.use("measure"); err != nil {
		return sandbox.Stats{}, err
	}
	stats, err := c.box.Stats(ctx)
	return stats, c.wrap("measure", err)
}

// Processes lists what runs in the container.
func (c *Container) Processes(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	if err := c.use("list the processes of"); err != nil {
		return nil, err
	}
	all, err := c.box.Processes(ctx)
	return all, c.wrap("list the processes of", err)
}

// Listening lists the sockets of the container that wait for connections or datagrams.
func (c *Container) Listening(ctx context.Context) ([]sandbox.Listener, error) {
	if err := c.use("list the listeners of"); err != nil {
		return nil, err
	}
	all, err := c.box.Listening(ctx)
	return all, c.wrap("list the listeners of", err)
}
