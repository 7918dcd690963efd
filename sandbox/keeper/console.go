package keeper

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// openConsole prepares for the terminal that libcontainer makes from the container's own devpts. The returned function
// takes its other end over once the container is started.
func (c *container) openConsole() (take func() error, err error) {
	ours, theirs, err := consolePair()
	if err != nil {
		return nil, err
	}
	c.first.ConsoleSocket = theirs
	c.first.ConsoleHeight, c.first.ConsoleWidth = c.spec.Terminal.Rows, c.spec.Terminal.Columns
	return func() error {
		defer ours.Close()
		theirs.Close()
		_, files, err := receive(ours)
		if err != nil || len(files) != 1 {
			return sandbox.Errorf(sandbox.CodeInternal, "receive the terminal: %d files, %v", len(files), err)
		}
		c.terminal = files[0]
		return nil
	}, nil
}

func consolePair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "console"), os.NewFile(uintptr(fds[1]), "console"), nil
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
