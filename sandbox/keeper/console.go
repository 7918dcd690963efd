package keeper

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// console is the way on which libcontainer hands over a terminal that it makes from the container's own devpts. A nil
// console is that of a program without one.
type console struct {
	ours   *socket
	theirs *os.File
}

// connect gives a process its standard streams, or a terminal of a size.
func connect(p *libcontainer.Process, size *sandbox.TerminalSize, stdio []*os.File) (*console, error) {
	if size == nil {
		p.Stdin, p.Stdout, p.Stderr = stdio[0], stdio[1], stdio[2]
		return nil, nil
	}
	ours, theirs, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	p.ConsoleSocket, p.ConsoleHeight, p.ConsoleWidth = theirs, size.Rows, size.Columns
	return &console{ours, theirs}, nil
}

// take returns our end of the terminal of a process that is started, nil without one.
func (c *console) take() (*os.File, error) {
	if c == nil {
		return nil, nil
	}
	c.theirs.Close()
	_, file, err := c.ours.receive()
	if err != nil || file == nil {
		return nil, sandbox.Errorf(sandbox.CodeInternal, "receive the terminal: %v", err)
	}
	return file, nil
}

func (c *console) close() {
	if c != nil {
		c.theirs.Close()
		c.ours.close()
	}
}

// checkStdio counts the standard streams that came with a request.
func checkStdio(terminal bool, stdio []*os.File) error {
	if want := 3; !terminal && len(stdio) != want {
		return sandbox.Errorf(sandbox.CodeProtocol, "start a program: %d standard streams where %d were expected", len(stdio), want)
	}
	return nil
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
