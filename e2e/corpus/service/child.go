package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// A child is the program once more, as a process that answers through a pipe.
type child struct {
	mu      sync.Mutex
	cmd     *exec.Cmd
	to      io.WriteCloser
	answers *bufio.Reader
}

func startChild() (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program, childArg)}
	c.cmd.Stderr = os.Stderr
	if c.to, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	from, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = bufio.NewReader(from)
	return c, c.cmd.Start()
}

// ask returns the child's process id and how often it was asked.
func (c *child) ask() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(c.to); err != nil {
		return "", err
	}
	answer, err := c.answers.ReadString('\n')
	return strings.TrimSpace(answer), err
}

func (c *child) end() error { return errors.Join(c.to.Close(), c.cmd.Wait()) }

// beChild answers each line until there are no more.
func beChild(from io.Reader, to io.Writer) error {
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		if _, err := fmt.Fprintln(to, os.Getpid(), n); err != nil {
			return err
		}
	}
	return lines.Err()
}
