package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/bivouac-run/bivouac/testkit"
)

// serveArg, as the only argument but for an address, makes this program the server of the contests about ports: the same
// one on the host and in a container.
const serveArg = "serve"

// serverPort is the server's port in a container.
const serverPort = 8080

// What the server is asked for, a byte, and how long its answer is.
const (
	askBig, bigAnswer     = 'b', 1 << 20
	askSmall, smallAnswer = 's', 1
)

// serve answers until the process is killed. It prints its address when it can be asked.
func serve(address string) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // plain TCP, as most servers have
	l, err := config.Listen(context.Background(), "tcp4", address)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return answerAll(l)
}

func answerAll(l net.Listener) error {
	answers := map[byte][]byte{askBig: make([]byte, bigAnswer), askSmall: make([]byte, smallAnswer)}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c, answers)
	}
}

func answer(c net.Conn, answers map[byte][]byte) {
	defer c.Close()
	for asked := make([]byte, 1); ; {
		if _, err := c.Read(asked); err != nil {
			return // the client has gone
		}
		if _, err := c.Write(answers[asked[0]]); err != nil {
			return
		}
	}
}

// ask reads one answer of the server.
func ask(c net.Conn, what byte, answer []byte) error {
	if _, err := c.Write([]byte{what}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, answer)
	return err
}

// A hostServer is the server on the host.
type hostServer struct {
	address string
	cmd     *exec.Cmd
}

func (s *hostServer) start(l *lab) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = l.command(self, serveArg, "127.0.0.1:0")
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("wait for the server: %w: %s", err, l.lastLine())
	}
	s.address = strings.TrimSpace(line)
	return nil
}

func (s *hostServer) stop() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	return err
}

// serveInside starts the server in a container.
func serveInside(l *lab) (*testkit.Container, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return testkit.New(l.ctx, "host:",
		testkit.BindReadOnly(self, "/run/server"), // it may be where the container has something else
		testkit.Entrypoint("/run/server", serveArg, "0.0.0.0:"+strconv.Itoa(serverPort)),
		testkit.Ready(testkit.Port(serverPort)))
}
