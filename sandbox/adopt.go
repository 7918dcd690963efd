package sandbox

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// RunningKeeper is a keeper that the calling process has started by itself, as its child and a process group of its own.
type RunningKeeper struct {
	PID int
	// Path is the executable's, for messages.
	Path string
	// Socket is our end of the keeper's socket, Stderr the reading end of the pipe that is its standard error. The client
	// takes both over.
	Socket, Stderr *os.File
}

func (c *Client) adoptKeeper(_ context.Context, o Options) error {
	k := o.Running
	conn, err := wire.FromFile(k.Socket)
	if err != nil {
		return err
	}
	process, err := os.FindProcess(k.PID)
	if err != nil {
		return Errorf(CodeProtocol, "find the keeper %s: %v", k.Path, err)
	}
	c.conn = conn
	c.keeper = &exec.Cmd{Path: k.Path, Process: process}
	c.words = make(chan struct{})
	go func() {
		defer close(c.words)
		_, _ = io.Copy(c.stderr, k.Stderr)
		k.Stderr.Close()
	}()
	return nil
}

// awaitWords returns once all that an adopted keeper said is there, or after a second for who else may hold its stderr.
func (c *Client) awaitWords() {
	if c.words == nil {
		return
	}
	select {
	case <-c.words:
	case <-time.After(time.Second):
	}
}
