package keeper

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// tellBegun puts on record that the session's program was executed. The checks of health are not: they would drown the rest.
func (x *session) tellBegun() {
	x.id = newID()
	command := strings.Join(x.spec.Args, " ")
	x.c.emit("exec_create: "+command, "execID", x.id)
	x.c.emit("exec_start: "+command, "execID", x.id)
}

// tellEnded puts on record how it ended.
func (x *session) tellEnded(exit sandbox.Exit) {
	x.c.emit("exec_die", "execID", x.id, "exitCode", strconv.Itoa(exit.Code))
}

// waitAlone waits for the end of a program that nobody else waits for.
func (x *session) waitAlone() {
	if exit, err := x.wait(context.Background()); err == nil {
		x.tellEnded(exit)
	}
}

// detachSession has a program go on that the request id has executed, and takes over its terminal, which the message brought.
func (c *container) detachSession(id uint64, m *wire.Message) error {
	found, ok := c.sessions.Load(id)
	if !ok {
		return sandbox.Errorf(sandbox.CodeAlreadyFinished, "detach from a process of container %s: it has ended", c.displayName())
	}
	if len(m.Files) != 1 {
		return sandbox.Errorf(sandbox.CodeProtocol, "detach from a process: %d files where its terminal was expected", len(m.Files))
	}
	terminal, err := again(context.Background(), m.Files[0])
	if err != nil {
		return err
	}
	found.(*session).detached.Store(true)
	go func() {
		defer terminal.Close()
		_, _ = io.Copy(struct{ io.Writer }{io.Discard}, terminal) // to the end of the last program that has it
	}()
	return nil
}
