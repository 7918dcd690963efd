package keeper

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// openConsole prepares for the terminal that libcontainer makes from the container's own devpts. The returned function
// takes its other end over once the container is started.
func (c *container) openConsole() (take func() error, err error) {
	ours, theirs, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	c.first.ConsoleSocket = theirs
	c.first.ConsoleHeight, c.first.ConsoleWidth = c.spec.Terminal.Rows, c.spec.Terminal.Columns
	return func() error {
		defer ours.close()
		theirs.Close()
		_, file, err := ours.receive()
		if err != nil || file == nil {
			return sandbox.Errorf(sandbox.CodeInternal, "receive the terminal: %v", err)
		}
		c.terminal = file
		return nil
	}, nil
}

func (c *container) terminalFiles() []*os.File {
	if c.terminal == nil {
		return nil
	}
	return []*os.File{c.terminal}
}

// closeTerminal gives our copy of the terminal up: the caller has one, and the program's hang-up must reach it.
func (c *container) closeTerminal() {
	if c.terminal != nil {
		c.terminal.Close()
		c.terminal = nil
	}
}
